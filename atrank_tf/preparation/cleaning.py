"""Log files -> clean frames with standard columns; `atrank_tf.preparation.logs` states the rules."""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from atrank_tf.preparation.column_checks import Facts
from atrank_tf.preparation.column_types import number
from atrank_tf.preparation.log_reader import RawLog, side_names
from atrank_tf.preparation.logs import BEHAVIORS, IMPRESSIONS, USER_ID, USERS, LogFile, catalog_profile
from atrank_tf.schema import Entity, Features, Group, Schema, Task, suggestion

REPEATED_CANDIDATE = "candidate repeated in a request"
REPEATED_ID = "repeated id"
UNKNOWN_ACTIONS_SHOWN = 5


@dataclass
class FileReport:
    """What was read from one file and what became of it.

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
    """A file of which everything is known that cleaning needs.

    Args:
        raw: the file.
        facts: what is known of it.
        report: what is dropped.
    """

    raw: RawLog
    facts: Facts
    report: FileReport

    @property
    def frame(self) -> pl.LazyFrame:
        """The kept rows, duplicates still inside."""
        return self.raw.clean(self.facts)

    @property
    def integer_ids(self) -> bool:
        """Whether every object id in the file is an integer."""
        return self.raw.are_integers("id", self.facts)


def open_raw_log(file: LogFile, schema: Schema, staging: Path) -> RawLog:
    """Opens a file and declares how it is cleaned.

    Raises:
        ValueError: the file is refused.
    """
    if file.kind == BEHAVIORS:
        group = schema.groups[file.name]
        return behaviors_log(file, group, schema.entities[group.entity], staging)
    if file.kind == IMPRESSIONS:
        task = schema.tasks[file.name]
        return impressions_log(file, task, schema.entities[schema.groups[task.group].entity], staging)
    if file.label == USERS and file.name not in schema.entities:
        return catalog_log(file, catalog_profile(schema), "user", USER_ID, staging)
    entity = schema.entities[file.name]
    return catalog_log(file, entity, "id", entity.id.column, staging)


def behaviors_log(file: LogFile, group: Group, entity: Entity, staging: Path) -> RawLog:
    """Declares `behaviors/<group>`.

    The clean rows have `row` (int64, data row), `user` and `id` (text), `timestamp` (int64, Unix seconds) and `action`
    (int64, `FIRST_ROW` + place in the group's actions).
    """
    own = {name: group.columns.get(name, name) for name in ("user_id", "action", "timestamp")}
    names = {"user": own["user_id"], "id": entity.id.column, "action": own["action"], "timestamp": own["timestamp"]}
    raw = RawLog(file, names, staging)
    raw.ids("user")
    raw.ids("id")
    raw.drop_missing("user", "user id")
    raw.drop_missing("id", "object id")
    raw.drop_missing("action", "action")
    raw.seconds()
    raw.actions(group.actions)
    return raw


def impressions_log(file: LogFile, task: Task, entity: Entity, staging: Path) -> RawLog:
    """Declares `impressions/<task>`.

    The clean rows have `row`, `user`, `id` and `timestamp` as behaviors have, `request` (text), `label` (int64, 0 or
    1), and the context as `side_names` says.
    """
    own = {name: task.columns.get(name, name) for name in ("request_id", "user_id", "timestamp", "label")}
    names = {"user": own["user_id"], "id": entity.id.column, "timestamp": own["timestamp"]}
    names |= {"request": own["request_id"], "label": own["label"]}
    raw = RawLog(file, names | side_names(task.context), staging)
    label = number("label", raw.types["label"])
    raw.sides(task.context)
    raw.refuse(~label.is_in([0.0, 1.0]).fill_null(False), "label", "a label of 0 or 1")
    raw.ids("request")
    raw.ids("user")
    raw.ids("id")
    raw.drop_missing("request", "request id")
    raw.drop_missing("user", "user id")
    raw.drop_missing("id", "object id")
    raw.seconds()
    raw.keep(label.cast(pl.Int64).alias("label"))
    return raw


def catalog_log(file: LogFile, features: Features, name: str, id_column: str, staging: Path) -> RawLog:
    """Declares `catalog/<entity>` or `catalog/user`.

    The clean rows have `row`, the id (text) under `name`, and the features as `side_names` says.
    """
    raw = RawLog(file, {name: id_column} | side_names(features), staging)
    raw.sides(features)
    raw.ids(name)
    raw.drop_missing(name, "object id")
    return raw


def clean_log(raw: RawLog, facts: Facts) -> CleanLog:
    """Draws the conclusions from what is known of a whole file.

    Raises:
        ValueError: the file is refused; names the file, the row and the value.
    """
    raw.check(facts)
    report = FileReport(file=raw.file.path.name, read=raw.rows, kept=raw.rows)
    for reason in sorted(raw.reasons):
        rows, first = facts[reason]
        if first is not None:
            report.drop(reason, rows, first)
    for action, rows in facts.unknown_actions:
        report.notes.append(f'Unknown action "{action}" in {rows} rows. {suggestion(action, raw.known_actions)}')
    if not report.kept:
        reasons = ", ".join(
            f"{rows} with {reason} (first: row {first})" for reason, (rows, first) in report.dropped.items()
        )
        raise ValueError(
            f"Expected usable rows in {raw.file.path}. All {report.read} were dropped: {reasons}. "
            f"{' '.join(report.notes)}"
        )
    return CleanLog(raw, facts, report)
