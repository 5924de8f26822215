"""One opened log file: its columns as they came, and the refusals that need a look at the data."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from atrank_tf.data.column_types import id_text, inspect_ids, is_missing, number, seconds, texts
from atrank_tf.data.logs import LogFile, as_error, open_log
from atrank_tf.schema import Features

LATEST = 4_102_444_800
"""2100-01-01 in Unix seconds."""


def side_names(features: Features) -> dict[str, str]:
    """Returns frame column -> file column of side features: `feature/<column>` (lists of text) and `dense/<column>`."""
    return {f"feature/{c}": c for c in features.features} | {f"dense/{c}": c for c in features.dense}


class RawLog:
    """A log file with standard column names and the types of the file.

    Args:
        file: the file.
        names: name in the frame -> the file's own name.
        staging: folder for copies.

    Attributes:
        frame: the opened file, lazy.
        types: its columns' types.
        integer_ids: after `ids("id")`, whether every object id is an integer.

    Raises:
        ValueError: in every method, and says where: the file is refused.
    """

    def __init__(self, file: LogFile, names: Mapping[str, str], staging: Path) -> None:
        self._file, self._names = file, names
        self.frame = open_log(file, names, staging)
        self.types = self.frame.collect_schema()
        self.integer_ids = False

    def refuse(self, bad: pl.Expr, name: str, expected: str) -> None:
        """Raises if `bad` holds anywhere; names the first row where it does, and its value."""
        with as_error(self._file.path):
            first = self.frame.filter(bad).select("row", name).sort("row").head(1).collect(engine="streaming")
        if len(first):
            row, value = first.row(0)
            raise ValueError(f"Expected {expected} in {self._place(name)}, row {row}. Received: {value!r}.")

    def ids(self, name: str) -> pl.Expr:
        """Returns a column of ids as text."""
        dtype = self.types[name]
        if dtype.is_nested():
            raise ValueError(f"Expected one id per row in {self._place(name)}. Received: {dtype}.")
        with as_error(self._file.path):
            found = inspect_ids(self.frame, name, typed=self._file.typed)
        if found.fraction_row is not None:
            self.refuse(pl.col("row") == found.fraction_row, name, "ids that are whole numbers or text")
        if name == "id":
            self.integer_ids = found.integers
        return id_text(name, dtype, found)

    def seconds(self) -> pl.Expr:
        """Returns the timestamps as whole Unix seconds, null where they cannot be read."""
        dtype = self.types["timestamp"]
        if not (dtype.is_numeric() or isinstance(dtype, pl.String | pl.Date | pl.Datetime | pl.Null)):
            raise ValueError(f"Expected Unix seconds in {self._place('timestamp')}. Received: {dtype}.")
        found, missing = seconds("timestamp", dtype), is_missing("timestamp", dtype)
        with as_error(self._file.path):
            counts = self.frame.select(given=(~missing).sum(), read=found.is_not_null().sum())
            given, read = counts.collect(engine="streaming").row(0)
        if given and not read:
            self.refuse(~missing, "timestamp", "Unix seconds")
        self.refuse(found > LATEST, "timestamp", "Unix seconds before the year 2100 (not milliseconds or finer)")
        return found

    def timestamp_reasons(self) -> dict[str, pl.Expr]:
        """Returns for which reasons a timestamp is dropped."""
        dtype = self.types["timestamp"]
        found = seconds("timestamp", dtype)
        return {
            "missing timestamp": is_missing("timestamp", dtype),
            "timestamp that is no number": found.is_null(),
            "timestamp not after 1970-01-01": found <= 0,
        }

    def check_sides(self, features: Features) -> None:
        """Raises if side features hold what their declaration does not allow."""
        for column, feature in features.features.items():
            name = f"feature/{column}"
            if self.types[name].is_nested() and feature.max_values == 1:
                raise ValueError(
                    f"Expected one value per row in {self._place(name)}. Received: {self.types[name]}. "
                    "Set max_values above 1 for it in the schema."
                )
        for column in features.dense:
            name = f"dense/{column}"
            self.refuse(number(name, self.types[name]).is_infinite(), name, "a finite number")

    def sides(self, features: Features) -> list[pl.Expr]:
        """Returns the side features under the names of `side_names`."""
        found = []
        for column, feature in features.features.items():
            name = f"feature/{column}"
            found.append(texts(name, self.types[name], feature.separator, feature.max_values).alias(name))
        for column in features.dense:
            name = f"dense/{column}"
            found.append(number(name, self.types[name]).alias(name))
        return found

    def _place(self, name: str) -> str:
        return f'column "{self._names[name]}" of {self._file.path}'
