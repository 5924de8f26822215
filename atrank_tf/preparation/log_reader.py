"""Reads one log file: checks its columns, refuses or drops rows, and gives the others clean columns.

Whether the ids of a file are integers, whether a row of it is refused, how many rows are dropped: each is a condition,
and all that is needed of it is in how many rows it holds, and which of them is the first. What is found in the parts of
a file adds up to what holds of the file, so the parts may be read anywhere.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from atrank_tf.preparation.column_types import (
    LONGEST,
    formatted_seconds,
    id_conditions,
    is_missing,
    is_unfit,
    number,
    text,
    texts,
)
from atrank_tf.preparation.logs import LogFile
from atrank_tf.preparation.open_log import Piece, as_error, open_log
from atrank_tf.schema import FIRST_ROW, LATEST, Features

UNKNOWN_ACTION = "unknown action"
AFTER_1970 = "timestamp: after 1970"
"""Condition of timestamps that are no days, hours or minutes since 1970."""
_END_OF_1970 = 31_536_000
_LARGEST = float(np.finfo(np.float32).max)
"""Largest number that the records can hold."""
LONGEST_TITLE = 200
"""Most characters that are kept of a title."""
_SHOWN = 200
"""Most characters that a message has of a value."""


class CheckResult(NamedTuple):
    """In how many rows a condition holds, and the first of them; None if in none."""

    rows: int
    first: int | None


@dataclass(frozen=True)
class ColumnChecks:
    """Results of the checks of a file, or of a part of it.

    Args:
        results: condition -> where it holds.
        unknown_actions: the most frequent actions that the schema does not name, with their rows.
    """

    results: Mapping[str, CheckResult]
    unknown_actions: tuple[tuple[str, int], ...] = ()

    def __getitem__(self, condition: str) -> CheckResult:
        return self.results.get(condition, CheckResult(0, None))


def run_checks(frame: pl.LazyFrame, conditions: Mapping[str, pl.Expr]) -> ColumnChecks:
    """Reads a frame once, and finds where each condition holds.

    Args:
        frame: has a column `row`.
        conditions: name -> bool for each row; null is no.
    """
    # In a column each: a condition that stands in two expressions is evaluated twice.
    columns = frame.select(pl.col("row").cast(pl.Int64).alias("\nrow"), **conditions)
    counted = [pl.col(condition).sum().cast(pl.Int64).alias(f"{condition}\n") for condition in conditions]
    firsts = [pl.when(pl.col(condition)).then(pl.col("\nrow")).min().alias(condition) for condition in conditions]
    found = columns.select(*counted, *firsts).collect(engine="streaming").row(0, named=True)
    return ColumnChecks({condition: CheckResult(found[f"{condition}\n"], found[condition]) for condition in conditions})


def combine_checks(parts: Iterable[ColumnChecks]) -> ColumnChecks:
    """Returns the checks of a whole file, of those of its parts in any order."""
    results: dict[str, CheckResult] = {}
    for part in parts:
        for condition, more in part.results.items():
            known = results.get(condition, CheckResult(0, None))
            firsts = [first for first in (known.first, more.first) if first is not None]
            results[condition] = CheckResult(known.rows + more.rows, min(firsts, default=None))
    return ColumnChecks(results)


class _Refusal(NamedTuple):
    """A file is refused if `condition` holds anywhere, unless the condition `unless` holds somewhere."""

    condition: str
    column: str
    expected: str
    unless: str


def action_condition(action: str) -> str:
    """Returns the name of the condition that a row has an action."""
    return f"action: {action}"


def side_names(features: Features) -> dict[str, str]:
    """Returns frame column -> file column of side features: `feature/<column>` (lists of text) and `dense/<column>`."""
    names = {f"feature/{name}": feature.column or name for name, feature in features.features.items()}
    return names | {f"dense/{name}": feature.column or name for name, feature in features.dense.items()}


class LogReader:
    """Reads a log file under standard column names.

    The cleaning of a file is declared by the methods from `ids` to `keep`; nothing is read then.
    `check_columns` reads the file, or each piece of it; `raise_if_refused` and `clean` take what it found.

    Args:
        file: the file.
        names: name in the frame -> the file's own name.
        staging: folder for copies.
        constants: name in the frame -> what all rows have there if the file has no such column. Defaults to none.

    Attributes:
        file: the file.
        frame: the opened file, lazy.
        types: its columns' types.
        rows: number of rows.
        known_actions: the actions that the schema names, of behaviors.
        reasons: reason for dropping a row -> where it holds, bool. The first one that holds counts.

    Raises:
        ValueError: in every method, and says where: the file is refused.
    """

    def __init__(
        self, file: LogFile, names: Mapping[str, str], staging: Path, constants: Mapping[str, str] | None = None
    ) -> None:
        self.file, self._names = file, names
        self._opened = open_log(file, names, staging, constants)
        self.frame = self._opened.frame
        self.types = self.frame.collect_schema()
        self.rows = sum(self._opened.rows)
        self.reasons: dict[str, pl.Expr] = {}
        self.known_actions: tuple[str, ...] = ()
        self._conditions: dict[str, pl.Expr] = {}
        self._refusals: list[_Refusal] = []
        self._as_numbers: list[str] = []
        self._columns: list[pl.Expr] = []
        self._seconds = pl.lit(0)

    def ids(self, name: str) -> None:
        """Takes a column of ids, as text."""
        dtype = self.types[name]
        if dtype.is_nested():
            raise ValueError(f"Expected one id per row in {self._column(name)}. Received: {dtype}.")
        self._check_for_numbers(name)
        expected = "ids that are whole numbers or text"
        self._refusals.append(_Refusal(f"{name}: fraction", name, expected, unless=f"{name}: text"))
        expected = "ids that floats hold exactly, below 2^53 or 2^24 (write larger ones as integers or text),"
        self._refusals.append(_Refusal(f"{name}: inexact", name, expected, unless=f"{name}: text"))
        self._refuse_unfit(name)
        self.keep(text(name, dtype).alias(name))

    def seconds(self, form: str) -> None:
        """Takes the timestamps, as whole Unix seconds; rows where they cannot be read or are too early are dropped.

        Args:
            form: `timestamp_format` of the schema.
        """
        dtype = self.types["timestamp"]
        if not (dtype.is_numeric() or isinstance(dtype, pl.String | pl.Date | pl.Datetime | pl.Null)):
            raise ValueError(f"Expected Unix seconds in {self._column('timestamp')}. Received: {dtype}.")
        self._seconds = found = formatted_seconds("timestamp", dtype, form)
        missing = is_missing("timestamp", dtype)
        self._conditions |= {"timestamp: given": ~missing, "timestamp: read": found.is_not_null()}
        self._conditions[AFTER_1970] = found >= _END_OF_1970
        expected = "Unix seconds or ISO 8601 (else say timestamp_format in the schema)"
        if form:
            expected = f'times as timestamp_format = "{form}" of the schema says (leave it out for ISO 8601)'
        self._refusals.append(_Refusal("timestamp: given", "timestamp", expected, unless="timestamp: read"))
        expected = 'Unix seconds before the year 2100 (milliseconds? timestamp_format = "millisecond" in the schema)'
        self.refuse(found > LATEST, "timestamp", expected)
        self.reasons |= {
            "missing timestamp": missing,
            "timestamp that cannot be read": found.is_null(),
            "timestamp not after 1970-01-01": found <= 0,
        }
        self.keep(found.alias("timestamp"))

    def later_than(self, newest: int) -> None:
        """Drops rows that are not later than the newest one, in Unix seconds, of the records to which they come."""
        self.reasons[f"timestamp not after {np.datetime64(newest, 's')}, the newest in the records"] = (
            self._seconds <= newest
        )

    def refuse(self, bad: pl.Expr, name: str, expected: str) -> None:
        """Refuses the file if `bad` holds anywhere."""
        condition = f"{name}: not {expected}"
        self._conditions[condition] = bad
        self._refusals.append(_Refusal(condition, name, expected, unless=""))

    def drop_missing(self, name: str, what: str) -> None:
        """Drops rows without a value."""
        self.reasons[f"missing {what}"] = is_missing(name, self.types[name])

    def actions(self, known: tuple[str, ...]) -> None:
        """Takes the actions, as `FIRST_ROW` + index among the known ones; rows with others are dropped."""
        action = text("action", self.types["action"])
        self.known_actions = known
        self._conditions |= {action_condition(name): action == name for name in known}
        self.reasons[UNKNOWN_ACTION] = ~action.is_in(known)
        index = action.cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int64)
        self.keep((index + FIRST_ROW).alias("action"))

    def sides(self, features: Features) -> None:
        """Takes side features, by the names of `side_names`; refuses what their declaration rules out."""
        for column, feature in features.features.items():
            name = f"feature/{column}"
            if self.types[name].is_nested() and feature.max_values == 1:
                raise ValueError(
                    f"Expected one value per row in {self._column(name)}. Received: {self.types[name]}. "
                    "Set max_values above 1 for it in the schema."
                )
            if not self.file.typed and (feature.max_values == 1 or "." not in feature.separator):
                self._check_for_numbers(name)  # They may be ids, of a table that an entity shares.
            self._refuse_unfit(name, feature.separator if feature.max_values > 1 else "")
            self.keep(texts(name, self.types[name], feature.separator, feature.max_values).alias(name))
        for column in features.dense:
            name = f"dense/{column}"
            values = number(name, self.types[name])
            self.refuse(
                values.abs() > _LARGEST,
                name,
                "a finite number that float32 holds, as 1234.5 (no decimal comma), or nothing where it is missing,",
            )
            self.keep(values.alias(name))

    def title(self) -> None:
        """Takes titles: texts of any length, of which the beginning is kept; a missing one is empty."""
        dtype = self.types["title"]
        if dtype.is_nested():
            raise ValueError(f"Expected one title per row in {self._column('title')}. Received: {dtype}.")
        whole = text("title", dtype).fill_null("").str.replace_all("\0", "", literal=True)
        self.keep(whole.str.head(LONGEST_TITLE).alias("title"))

    def keep(self, column: pl.Expr) -> None:
        """Adds a column to the clean rows."""
        self._columns.append(column)

    def source(self, piece: Piece) -> Path:
        """Returns the file that a piece is read from."""
        return self._opened.sources[piece.part]

    def pieces(self, most_rows: int) -> list[Piece]:
        """Returns the file in pieces of so many rows at most."""
        return [
            Piece(part, start, min(start + most_rows, rows))
            for part, rows in enumerate(self._opened.rows)
            for start in range(0, rows, most_rows)
        ]

    def as_error(self, piece: Piece | None = None) -> AbstractContextManager[None]:
        """Returns what the file, or a piece of it, is read within: errors name the part, and the rows if not all."""
        if piece is None:
            return as_error(self.file.path)
        whole = piece.stop - piece.start == self._opened.rows[piece.part]
        return as_error(self.file.parts[piece.part], "" if whole else f"rows {piece.start + 1:,} to {piece.stop:,}")

    def check_columns(self, piece: Piece | None = None) -> ColumnChecks:
        """Checks the file, or a piece of it."""
        reasons = {reason: pl.col("reason") == number for number, reason in enumerate(self.reasons)}
        with self.as_error(piece):
            return run_checks(self._with_reasons(piece), self._conditions | reasons)

    def unknown_actions(self, piece: Piece | None = None) -> pl.DataFrame:
        """Counts the actions that the schema does not name: `action` and `rows`."""
        number = list(self.reasons).index(UNKNOWN_ACTION)
        rows = self._with_reasons(piece).filter(pl.col("reason") == number)
        named = rows.select(action=text("action", self.types["action"]))
        with self.as_error(piece):
            return named.group_by("action").agg(rows=pl.len()).collect(engine="streaming")

    def raise_if_refused(self, checks: ColumnChecks) -> None:
        """Raises ValueError if the checks of the whole file refuse it; names the first row that does, and its value."""
        for condition, name, expected, unless in self._refusals:
            row = checks[condition].first
            if row is not None and not checks[unless].rows:
                part, own_row = self._place(row)
                piece = Piece(part, own_row - 1, own_row)
                with self.as_error(piece):
                    found = self._opened.piece(piece).select(name).collect(engine="streaming")[name]
                shown = repr(found.to_list()[0])
                shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(shown):,} characters)"
                raise ValueError(f"Expected {expected} in {self._cell(name, row)}. Received: {shown}.")

    def clean(self, checks: ColumnChecks, piece: Piece | None = None) -> pl.LazyFrame:
        """Returns the rows that are kept, of the file or of a piece of it: `row` (int64), ids, other columns."""
        decimals = [n for n in self._as_numbers if checks[f"{n}: whole"].rows and not checks[f"{n}: text"].rows]
        kept = self._with_reasons(piece).filter(pl.col("reason").is_null())
        kept = kept.with_columns(pl.col(decimals).str.replace(r"\.0+$", ""))
        return kept.select(pl.col("row").cast(pl.Int64), *self._columns)

    def _check_for_numbers(self, name: str) -> None:
        """Checks whether a column holds numbers only; then integers written as decimals are kept as integers."""
        for condition, holds in id_conditions(name, self.types[name], typed=self.file.typed).items():
            self._conditions[f"{name}: {condition}"] = holds
        self._as_numbers.append(name)

    def _refuse_unfit(self, name: str, separator: str = "") -> None:
        dtype = self.types[name]
        if not (dtype.is_numeric() or dtype.is_temporal()):
            expected = f"text of at most {LONGEST:,} characters, none of them NUL (cut or drop others),"
            self.refuse(is_unfit(name, dtype, separator), name, expected)

    def _with_reasons(self, piece: Piece | None) -> pl.LazyFrame:
        numbered = enumerate(self.reasons.values())
        reason = pl.coalesce(*(pl.when(holds).then(pl.lit(number, pl.UInt8)) for number, holds in numbered))
        frame = self.frame if piece is None else self._opened.piece(piece)
        return frame.with_columns(reason=reason)

    def _column(self, name: str) -> str:
        return f'column "{self._names[name]}" of {self.file.path}'

    def _cell(self, name: str, row: int) -> str:
        """Returns the column of a file in words, with its part and the row within the part."""
        part, own_row = self._place(row)
        return f'column "{self._names[name]}" of {self.file.parts[part]}, row {own_row}'

    def _place(self, row: int) -> tuple[int, int]:
        """Returns the index of a row's part, and the row within that."""
        part = bisect_right(self._opened.first_rows, row) - 1
        return part, row - self._opened.first_rows[part] + 1
