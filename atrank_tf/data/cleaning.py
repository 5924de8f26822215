"""Log files -> clean frames with standard columns; `atrank_tf.data.logs` states the rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from atrank_tf.data.column_types import is_missing, number, text
from atrank_tf.data.logs import LogFile, as_error
from atrank_tf.data.raw_log import RawLog, side_names
from atrank_tf.schema import FIRST_ROW, Entity, Features, Group, Task, suggestion

DUPLICATE = "exact duplicate"
REPEATED_CANDIDATE = "candidate repeated in a request"
REPEATED_ID = "repeated id"
_UNKNOWN_ACTIONS_SHOWN = 5


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
    """A clean file.

    Args:
        file: where it came from.
        frame: a lazy frame of the kept rows, duplicates still inside.
        report: what was dropped.
        integer_ids: whether every object id in the file is an integer.
    """

    file: LogFile
    frame: pl.LazyFrame
    report: FileReport
    integer_ids: bool


def clean_behaviors(file: LogFile, group: Group, entity: Entity, staging: Path) -> CleanLog:
    """Cleans `behaviors/<group>`.

    Returns:
        A frame with `row` (int64, data row), `user` and `id` (text), `action` (int64, `FIRST_ROW` + place in the
        group's actions) and `timestamp` (int64, Unix seconds).

    Raises:
        ValueError: the file is refused; names the file, the row and the value.
    """
    own = {name: group.columns.get(name, name) for name in ("user_id", "action", "timestamp")}
    names = {"user": own["user_id"], "id": entity.id.column, "action": own["action"], "timestamp": own["timestamp"]}
    raw = RawLog(file, names, staging)
    actions = pl.Enum(group.actions)
    frame = raw.frame.select(
        "row",
        user=raw.ids("user"),
        id=raw.ids("id"),
        action=text("action", raw.types["action"]),
        timestamp=raw.seconds(),
        reason=_first_reason(
            {
                "missing user id": is_missing("user", raw.types["user"]),
                "missing object id": is_missing("id", raw.types["id"]),
                "missing action": is_missing("action", raw.types["action"]),
                **raw.timestamp_reasons(),
                "unknown action": ~text("action", raw.types["action"]).is_in(group.actions),
            }
        ),
    )
    report = _report(file, frame)
    if "unknown action" in report.dropped:
        report.notes += _unknown_actions(frame, group.actions)
    _something_left(file, report)
    kept = frame.filter(pl.col("reason").is_null()).select(
        pl.col("row").cast(pl.Int64),
        "user",
        "id",
        pl.col("action").cast(actions).to_physical().cast(pl.Int64) + FIRST_ROW,
        "timestamp",
    )
    return CleanLog(file, kept, report, raw.integer_ids)


def clean_impressions(file: LogFile, task: Task, entity: Entity, staging: Path) -> CleanLog:
    """Cleans `impressions/<task>`.

    Returns:
        A frame with `row`, `user`, `id`, `timestamp` as for behaviors, `request` (text), `label` (int64, 0 or 1), and
        the context as `side_names` says.

    Raises:
        ValueError: the file is refused; names the file, the row and the value.
    """
    own = {name: task.columns.get(name, name) for name in ("request_id", "user_id", "timestamp", "label")}
    names = {"user": own["user_id"], "id": entity.id.column, "timestamp": own["timestamp"]}
    names |= {"request": own["request_id"], "label": own["label"]}
    raw = RawLog(file, names | side_names(task.context), staging)
    raw.check_sides(task.context)
    label = number("label", raw.types["label"])
    raw.refuse(~label.is_in([0.0, 1.0]).fill_null(False), "label", "a label of 0 or 1")
    frame = raw.frame.select(
        "row",
        *raw.sides(task.context),
        user=raw.ids("user"),
        id=raw.ids("id"),
        request=text("request", raw.types["request"]),
        timestamp=raw.seconds(),
        label=label.cast(pl.Int64),
        reason=_first_reason(
            {
                "missing request id": is_missing("request", raw.types["request"]),
                "missing user id": is_missing("user", raw.types["user"]),
                "missing object id": is_missing("id", raw.types["id"]),
                **raw.timestamp_reasons(),
            }
        ),
    )
    report = _report(file, frame)
    _something_left(file, report)
    kept = frame.filter(pl.col("reason").is_null()).drop("reason").with_columns(pl.col("row").cast(pl.Int64))
    return CleanLog(file, kept, report, raw.integer_ids)


def clean_catalog(file: LogFile, features: Features, id_column: str, staging: Path) -> CleanLog:
    """Cleans `catalog/<entity>` or `catalog/user`.

    Returns:
        A frame with `row`, `id` (text) and the features as `side_names` says.

    Raises:
        ValueError: the file is refused; names the file, the row and the value.
    """
    raw = RawLog(file, {"id": id_column} | side_names(features), staging)
    raw.check_sides(features)
    reason = _first_reason({"missing object id": is_missing("id", raw.types["id"])})
    frame = raw.frame.select("row", *raw.sides(features), id=raw.ids("id"), reason=reason)
    report = _report(file, frame)
    _something_left(file, report)
    kept = frame.filter(pl.col("reason").is_null()).drop("reason").with_columns(pl.col("row").cast(pl.Int64))
    return CleanLog(file, kept, report, raw.integer_ids)


def _first_reason(reasons: Mapping[str, pl.Expr]) -> pl.Expr:
    """Returns the first reason that holds, as text; null where none does."""
    return pl.coalesce(*(pl.when(holds).then(pl.lit(reason)) for reason, holds in reasons.items()))


def _report(file: LogFile, frame: pl.LazyFrame) -> FileReport:
    with as_error(file.path):
        counts = frame.group_by("reason").agg(rows=pl.len(), first=pl.col("row").min()).collect(engine="streaming")
    dropped = counts.filter(pl.col("reason").is_not_null()).sort("reason")
    read = int(counts["rows"].sum())
    return FileReport(
        file=file.path.name,
        read=read,
        kept=read - int(dropped["rows"].sum()),
        dropped={reason: [rows, first] for reason, rows, first in dropped.iter_rows()},
    )


def _something_left(file: LogFile, report: FileReport) -> None:
    if not report.kept:
        reasons = ", ".join(
            f"{rows} with {reason} (first: row {first})" for reason, (rows, first) in report.dropped.items()
        )
        raise ValueError(
            f"Expected usable rows in {file.path}. All {report.read} were dropped: {reasons}. {' '.join(report.notes)}"
        )


def _unknown_actions(frame: pl.LazyFrame, actions: tuple[str, ...]) -> list[str]:
    counts = (
        frame.filter(pl.col("reason") == "unknown action")
        .group_by("action")
        .agg(rows=pl.len())
        .sort(["rows", "action"], descending=[True, False])
        .head(_UNKNOWN_ACTIONS_SHOWN)
        .collect(engine="streaming")
    )
    return [f'Unknown action "{name}" in {rows} rows. {suggestion(name, actions)}' for name, rows in counts.iter_rows()]
