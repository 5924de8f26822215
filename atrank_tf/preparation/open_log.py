"""Opens log files as lazy frames; errors name the file."""

import csv
import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import polars as pl

from atrank_tf.preparation.logs import CATALOG, SECTIONS, USER, LogFile, parts_of
from atrank_tf.schema import suggestion

_MISSING = ["NaN", "nan", "NULL", "null", r"\N"]
"""What stands in a CSV file where a value is missing: as data frames write it, and as databases do."""
_SEPARATORS = (";", "\t", "|")
"""What stands between the values of a CSV file whose first line has no comma."""
_ROW = "\nrow"
"""Name of the row numbers until columns have the names asked for: a file may have a column `row` of its own."""


class Piece(NamedTuple):
    """Rows of one part of a file: those from `start` to before `stop` of the part with the index `part`."""

    part: int
    start: int
    stop: int


@dataclass(frozen=True)
class OpenLog:
    """An opened file.

    Args:
        sources: what is scanned of each part.
        rows: of each part.
        types: columns of the sources that are read -> their types; what one part alone calls null is text elsewhere.
        names: name in a frame -> name in the sources.
        constants: name in a frame -> what it is in every row; the sources have no such column.
    """

    sources: tuple[Path, ...]
    rows: tuple[int, ...]
    types: Mapping[str, pl.DataType]
    names: Mapping[str, str]
    constants: Mapping[str, str]

    @property
    def frame(self) -> pl.LazyFrame:
        """The columns asked for, and `row`: 1 for the first row of data; lazy."""
        return self._scan(self.sources, 1)

    def piece(self, piece: Piece) -> pl.LazyFrame:
        """Returns the rows of `frame` that are in a piece; opens no other part."""
        frame = self._scan(self.sources[piece.part : piece.part + 1], self.first_rows[piece.part])
        return frame.slice(piece.start, piece.stop - piece.start)

    @cached_property
    def first_rows(self) -> list[int]:
        """Number of the first row of each part."""
        return list(accumulate(self.rows, initial=1))[:-1]

    def _scan(self, sources: Sequence[Path], first_row: int) -> pl.LazyFrame:
        frame = pl.scan_parquet(
            list(sources),
            glob=False,
            schema=dict(self.types),
            extra_columns="ignore",
            row_index_name=_ROW,
            row_index_offset=first_row,
        )
        fixed = {name: pl.lit(value) for name, value in self.constants.items()}
        return frame.select(row=_ROW, **self.names).with_columns(**fixed)


def open_log(
    file: LogFile, columns: Mapping[str, str], staging: Path, constants: Mapping[str, str] | None = None
) -> OpenLog:
    """Opens a file for repeated scans; nothing is held in memory.

    A CSV file is copied to Parquet once, all columns as text, since each scan of a compressed file unpacks all of it.

    Args:
        file: the file.
        columns: name in the frame -> the file's own name.
        staging: folder for the copy.
        constants: name in the frame -> what all rows have there if the file has no such column. Defaults to none.

    Raises:
        ValueError: the file cannot be read, has no rows or lacks a column, or its parts differ in a column's type.
    """
    constants = constants or {}
    sources, rows = [], []
    types: dict[str, tuple[pl.DataType, Path]] = {}  # And the first part that says so.
    for number, part in enumerate(file.parts):
        with as_error(part):
            frame = pl.scan_parquet(part, glob=False) if file.typed else scan_csv(part)
            found = frame.collect_schema()
            if not number:
                constants = {name: value for name, value in constants.items() if columns[name] not in found}
                columns = {name: own for name, own in columns.items() if name not in constants}
            for new, name in columns.items():
                if name not in found:
                    hint = _missing_column(file, new, found.names(), columns)
                    raise ValueError(f'Missing column "{name}" in {part}. {suggestion(name, found)}{hint}')
                known, told_by = types.get(name, (pl.Null(), part))
                if known == pl.Null:
                    types[name] = (found[name], part)
                elif found[name] not in (known, pl.Null):
                    raise ValueError(
                        f'Expected {known} in column "{name}" of {part}, as in {told_by.name}. '
                        f"Received: {found[name]}. Write all parts with the same types."
                    )
            source = part
            if not file.typed:
                source = staging / f"{file.kind}-{file.name}-{number}.parquet"
                frame.select(**columns).sink_parquet(source, compression="lz4", mkdir=True)
            rows.append(pl.scan_parquet(source, glob=False).select(pl.len()).collect(engine="streaming").item())
            sources.append(source)
    if not sum(rows):
        raise ValueError(f"Expected rows in {file.path}. Found none.")
    own_names = columns if file.typed else {name: name for name in columns}
    schema = {name: types[columns[new]][0] for new, name in own_names.items()}
    return OpenLog(tuple(sources), tuple(rows), schema, dict(own_names), dict(constants))


@contextmanager
def as_error(path: Path, rows: str = "") -> Iterator[None]:
    """Turns errors of polars into a ValueError that names the file; those of the disk into an OSError.

    Whatever reads a file is done within: a Parquet file may turn out to be damaged in a column that nobody read before.

    Args:
        path: the file.
        rows: which rows of it are read, in words. Defaults to all.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:  # A panic is no `Exception`.
        reason = str(error).split("\n", 1)[0].rstrip(".")
        if isinstance(error, OSError) and (error.errno is not None or "os error" in reason):
            raise  # The system says so; of a damaged .gz Polars does.
        if "IO error" in reason:
            raise OSError(f"While {path} was read: {reason}. Is there room on the disk?") from error
        for part in parts_of(path):
            if part.suffix == ".parquet":
                with as_error(part):  # Raises for the part that is meant; CSV files are read one by one.
                    pl.scan_parquet(part, glob=False).select(pl.all().null_count()).collect(engine="streaming")
        if "utf-8" in reason.lower() and path.is_file():
            raise ValueError(_not_utf_8(path)) from error
        if path.name.endswith((".csv", ".csv.gz")) and path.is_file():
            reason = _odd_row(path) or reason
        raise ValueError(f"{path} cannot be read{f' ({rows})' if rows else ''}: {reason}.") from error


def scan_csv(path: Path) -> pl.LazyFrame:
    """Returns a CSV file as a lazy frame of texts.

    Raises:
        ValueError: the names of its columns are not UTF-8, or two are the same.
    """
    frame = pl.scan_csv(path, glob=False, infer_schema=False, null_values=_MISSING)
    [first, *others] = names = frame.collect_schema().names()
    if any("\ufffd" in name for name in names):
        raise ValueError(_not_utf_8(path))
    for separator in _SEPARATORS if not others else ():
        if separator in first:
            frame = pl.scan_csv(path, glob=False, infer_schema=False, null_values=_MISSING, separator=separator)
            names = frame.collect_schema().names()
            break
    for name in names:
        twice, duplicated, _ = name.rpartition("_duplicated_")  # So Polars calls the second one.
        if duplicated and twice in names:
            raise ValueError(f'Expected each column once in {path}. Received "{twice}" twice. Rename one of them.')
    return frame


def _missing_column(file: LogFile, name: str, found: Sequence[str], columns: Mapping[str, str]) -> str:
    """Returns what may help where the column is missing that frames call `name`."""
    if not set(found) & set(columns.values()):
        return "" if file.typed else " The first line of a CSV file has the names of its columns."
    if "/" in name:  # A feature is called as its column is.
        return ""
    place = f"[{SECTIONS[file.kind]}.{file.name}.columns]"
    if file.kind == CATALOG:
        place = "[user.columns]" if name == USER else f"[entities.{file.name}.id]"
    return f" Its name in the file may stand in {place} of the schema."


def _odd_row(path: Path) -> str:
    """Returns which row of a CSV file has more values than there are columns, or a quotation mark too many; or ""."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        try:
            head = lines.readline()
            separator = next((each for each in _SEPARATORS if each in head and "," not in head), ",")
            columns = len(next(csv.reader([head], delimiter=separator), []))
            for number, row in enumerate(csv.reader(lines, delimiter=separator), 1):
                if any("\n" in value for value in row):
                    return f"row {number} has a quotation mark that is not closed in its line"
                if len(row) > columns:
                    return f"row {number} has {len(row)} values, and the first line the names of {columns}"
        except (csv.Error, EOFError, UnicodeDecodeError, OSError):
            return ""  # What Polars has found says more.
    return ""


def _not_utf_8(path: Path) -> str:
    """Returns where the text of a CSV file is not UTF-8."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                shown = line[max(0, error.start - 20) : error.end + 20].decode("latin-1").strip()
                where = f"row {number}" if number else "the first line"
                return f"Expected UTF-8 in {path}. Received in {where}, read as Latin-1: {shown!r}. Save it as UTF-8."
    return f"Expected UTF-8 in {path}. Save it as UTF-8."
