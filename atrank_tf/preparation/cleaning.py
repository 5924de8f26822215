"""Says how behaviors, impressions and catalogs are read and cleaned; `atrank_tf.preparation.logs` states the rules."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from atrank_tf.preparation.column_types import number
from atrank_tf.preparation.log_reader import AFTER_1970, ColumnChecks, LogReader, action_condition, side_names
from atrank_tf.preparation.logs import BEHAVIORS, IMPRESSIONS, USER_ID, USERS, LogFile, catalog_profile
from atrank_tf.schema import Entity, Features, Group, Schema, Task, suggestion

REPEATED_CANDIDATE = "candidate repeated in a request"
REPEATED_ID = "repeated id"
UNKNOWN_ACTIONS_SHOWN = 5
OF_1970 = 'All timestamps are of 1970, read as seconds. What else are they? timestamp_format = "day", or "%Y%m%d".'


@dataclass
class FileReport:
    """Numbers of rows of one file that were read, kept and dropped.

    Args:
        file: the file's name.
        read: rows read.
        kept: rows kept.
        dropped: reason -> [rows dropped, first of them].
        notes: what a person should look at.
    """

    file: str
    read: int
    kept: int
    dropped: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop(self, reason: str, rows: int, first_row: int) -> None:
        """Counts rows that a later stage drops."""
        count, first = self.dropped.get(reason, [0, first_row])
        self.dropped[reason] = [count + rows, min(first, first_row)]
        self.kept -= rows


@dataclass(frozen=True)
class CleanLog:
    """A log file whose columns are checked, so that its rows can be cleaned.

    Args:
        reader: the file.
        checks: what the checks of the whole file found.
        report: what is dropped.
    """

    reader: LogReader
    checks: ColumnChecks
    report: FileReport

    @property
    def frame(self) -> pl.LazyFrame:
        """The kept rows, duplicates still inside."""
        return self.reader.clean(self.checks)

    @property
    def integer_ids(self) -> bool:
        """Whether every object id in the file is an integer."""
        return not self.checks["id: text"].rows


def open_reader(file: LogFile, schema: Schema, staging: Path) -> LogReader:
    """Opens a file, and returns a reader that knows how it is cleaned.

    Raises:
        ValueError: the file is refused.
    """
    if file.kind == BEHAVIORS:
        group = schema.groups[file.name]
        return behaviors_reader(file, group, schema.entities[group.entity], staging)
    if file.kind == IMPRESSIONS:
        task = schema.tasks[file.name]
        return impressions_reader(file, task, schema.entities[schema.entity_of(file.name)], staging)
    if file.label == USERS and file.name not in schema.entities:
        profile = catalog_profile(schema)
        return catalog_reader(file, profile, "user", profile.columns.get(USER_ID, USER_ID), staging)
    entity = schema.entities[file.name]
    return catalog_reader(file, entity, "id", entity.columns.get("id", entity.id.column), staging)


def behaviors_reader(file: LogFile, group: Group, entity: Entity, staging: Path) -> LogReader:
    """Returns the reader of `behaviors/<group>`.

    The clean rows have `row` (int64, data row), `user` and `id` (text), `timestamp` (int64, Unix seconds) and `action`
    (int64, `FIRST_ROW` + index in the group's actions).
    """
    own = {name: name for name in ("user_id", "action", "timestamp")}
    own |= {"id": entity.id.column, **group.columns}
    names = {"user": own["user_id"], "id": own["id"], "timestamp": own["timestamp"], "action": own["action"]}
    only = group.actions[0] if len(group.actions) == 1 and "action" not in group.columns else ""
    reader = LogReader(file, names, staging, constants={"action": only} if only else {})
    reader.ids("user")
    reader.ids("id")
    reader.drop_missing("user", "user id")
    reader.drop_missing("id", "object id")
    reader.drop_missing("action", "action")
    reader.seconds(group.timestamp_format)
    reader.actions(group.actions)
    return reader


def impressions_reader(file: LogFile, task: Task, entity: Entity, staging: Path) -> LogReader:
    """Returns the reader of `impressions/<task>`.

    The clean rows have `row`, `user`, `id` and `timestamp` as behaviors have, `request` (text), `label` (int64, 0 or
    1), and the context as `side_names` says.
    """
    own = {name: name for name in ("request_id", "user_id", "timestamp", "label")}
    own |= {"id": entity.id.column, **task.columns}
    names = {"user": own["user_id"], "id": own["id"], "timestamp": own["timestamp"]}
    names |= {"request": own["request_id"], "label": own["label"]}
    reader = LogReader(file, names | side_names(task.context), staging)
    label = number("label", reader.types["label"])
    reader.sides(task.context)
    reader.refuse(~label.is_in([0.0, 1.0]).fill_null(False), "label", "a label of 0 or 1")
    reader.ids("request")
    reader.ids("user")
    reader.ids("id")
    reader.drop_missing("request", "request id")
    reader.drop_missing("user", "user id")
    reader.drop_missing("id", "object id")
    reader.seconds(task.timestamp_format)
    reader.keep(label.cast(pl.Int64).alias("label"))
    return reader


def catalog_reader(file: LogFile, features: Features, name: str, id_column: str, staging: Path) -> LogReader:
    """Returns the reader of `catalog/<entity>` or `catalog/user`.

    The clean rows have `row`, the id (text) under `name`, the features as `side_names` says, and of an entity that has
    one its `title` (text).
    """
    titled = {"title": features.name} if isinstance(features, Entity) and features.name else {}
    reader = LogReader(file, {name: id_column} | titled | side_names(features), staging)
    reader.sides(features)
    if titled:
        reader.title()
    reader.ids(name)
    reader.drop_missing(name, "object id")
    return reader


def clean_log(reader: LogReader, checks: ColumnChecks) -> CleanLog:
    """Refuses a file, or says which of its rows are dropped, by the checks of the whole file.

    Raises:
        ValueError: the file is refused; names the file, the row and the value.
    """
    reader.raise_if_refused(checks)
    report = FileReport(file=reader.file.path.name, read=reader.rows, kept=reader.rows)
    for reason in sorted(reader.reasons):
        rows, first = checks[reason]
        if first is not None:
            report.drop(reason, rows, first)
    report.notes += _action_notes(reader, checks)
    if "timestamp" in reader.types.names() and report.kept and not checks[AFTER_1970].rows:
        report.notes.append(OF_1970)
    if not report.kept:
        reasons = ", ".join(
            f"{rows} with {reason} (first: row {first})" for reason, (rows, first) in report.dropped.items()
        )
        raise ValueError(
            f"Expected usable rows in {reader.file.path}. All {report.read} were dropped: {reasons}. "
            f"{' '.join(report.notes)}"
        )
    return CleanLog(reader, checks, report)


def _action_notes(reader: LogReader, checks: ColumnChecks) -> Iterator[str]:
    """Yields what to say of actions that only the log has, and of those that only the schema has."""
    unused = [action for action in reader.known_actions if not checks[action_condition(action)].rows]
    for action, rows in checks.unknown_actions:
        advice = suggestion(action, reader.known_actions)
        for known in difflib.get_close_matches(action, unused, n=1):
            advice = f'The schema has "{known}", which is in no row: one of the two is misspelt.'
            unused = [name for name in unused if name != known]
        yield f'Unknown action "{action}" in {rows} rows. {advice}'
    for action in unused:
        yield f'No row has the action "{action}" of [groups.{reader.file.name}].'
