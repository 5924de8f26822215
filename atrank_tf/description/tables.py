"""Finds the tables of a folder: CSV and Parquet files of any name, and parts that are one table."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from atrank_tf.description.columns import Column
from atrank_tf.paths import local_path
from atrank_tf.preparation.logs import ENDINGS, parts_of
from atrank_tf.preparation.open_log import as_error, scan_csv


@dataclass(frozen=True)
class Table:
    """One table of a folder of logs.

    Args:
        file: what `file` in the schema says: a path within the folder, or a pattern.
        columns: name -> column.
        unread: column -> why it is not read.
    """

    file: str
    columns: dict[str, Column]
    unread: dict[str, str]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return next(iter(self.columns.values())).rows

    @property
    def stem(self) -> str:
        """The file's name without its ending, and without the * of a pattern."""
        *folders, name = self.file.split("/")
        stem = re.sub(r"[-_. ]*\*", "", _bare(name))
        return folders[-1] if folders and not re.search("[A-Za-z]", stem) else stem

    @cached_property
    def keys(self) -> list[Column]:
        """The columns whose values are all different, but for a few rows that stand twice."""
        return [column for column in self.columns.values() if column.is_key]


def read_tables(logs: str) -> tuple[list[Table], dict[str, str]]:
    """Reads a folder, and the folders in it.

    Args:
        logs: the folder. Names that begin with `.` or `_` are left out.

    Returns:
        The tables, and file -> why it is none.

    Raises:
        FileNotFoundError: there is no such folder, or no table in it.
        ValueError: a file cannot be read.
    """
    root = local_path(logs)
    if not root.is_dir():
        raise FileNotFoundError(f"Expected a folder of logs at {logs}. Found none.")
    found = [table for folder in _folders(root) for table in _of_folder(folder, root)]
    tables = sorted((table for table in found if table.columns and table.rows), key=lambda table: table.file)
    if not tables:
        names = ", ".join(sorted(path.name for path in root.iterdir())[:20])
        raise FileNotFoundError(
            f"Expected tables ({', '.join(ENDINGS)}) with rows in {logs}. Found {names or 'nothing'}."
        )
    others = {table.file: "no rows" for table in found if table not in tables}
    for path in (path for folder in _folders(root) for path in sorted(folder.iterdir())):
        if path.is_file() and not path.name.startswith((".", "_")):
            if not path.name.endswith(ENDINGS):
                others[path.relative_to(root).as_posix()] = f"none of {', '.join(ENDINGS)}"
            elif not path.stat().st_size:
                others[path.relative_to(root).as_posix()] = "empty"
    return tables, others


def _folders(root: Path) -> Iterator[Path]:
    """Yields a folder and those in it, but for the partitions of a table (`date=2024-01-31`)."""
    yield root
    for path in sorted(root.rglob("*")):
        names = path.relative_to(root).parts
        if path.is_dir() and not any(name.startswith((".", "_")) or "=" in name for name in names):
            yield path


def _of_folder(folder: Path, root: Path) -> Iterator[Table]:
    name, parts = folder.relative_to(root).as_posix(), parts_of(folder)
    files = [path for path in parts if path.is_file() and path.name.endswith(ENDINGS) and path.stat().st_size]
    if any(path.parent != folder for path in files):
        yield _table(name, files)
        return
    together: dict[tuple[str, str], list[tuple[set[str], list[Path]]]] = defaultdict(list)
    for path in files:
        # What is left of a name without its date or number: parts of one table have the same.
        stem = re.sub(r"[-_. ]*\d[\d\-_.T ]*$|(?<=part)-\d.*$", "", _bare(path.name))
        alike = together[stem, path.name.removeprefix(_bare(path.name))]
        columns = set(_scan(path).collect_schema())
        fitting = (paths for known, paths in alike if 2 * len(columns & known) >= len(columns | known))
        if (known := next(fitting, None)) is None:
            alike.append((columns, [path]))
        else:
            known.append(path)
    for (stem, ending), alike in together.items():
        pattern = f"{stem}*{ending}"
        for _, paths in alike:
            if len(paths) > 1 and folder != root and paths == parts and stem in ("", "part"):
                yield _table(name, paths)
            elif len(paths) > 1 and sorted(folder.glob(pattern)) == paths:
                yield _table((folder / pattern).relative_to(root).as_posix(), paths)
            else:
                for path in paths:
                    yield _table(path.relative_to(root).as_posix(), [path])


def _bare(name: str) -> str:
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)


def _scan(path: Path) -> pl.LazyFrame:
    with as_error(path):
        frame = pl.scan_parquet(path, glob=False) if path.suffix == ".parquet" else scan_csv(path)
        frame.collect_schema()
        return frame


def _table(file: str, paths: list[Path]) -> Table:
    """Reads the columns that all parts have."""
    frames = []
    for path in paths:
        with as_error(path):
            frames.append(_scan(path).collect())
    common = [name for name in frames[0].columns if all(name in frame.columns for frame in frames)]
    unread = {name: "not in all parts" for frame in frames for name in frame.columns if name not in common}
    with as_error(paths[0]):
        frame = pl.concat([frame.select(common) for frame in frames], how="vertical_relaxed")
    typed = paths[0].suffix == ".parquet"
    columns = {}
    for name in common:
        values = _values(frame[name])
        if values is None:
            unread[name] = f"of type {frame[name].dtype}: write texts, numbers, times, or lists of these"
        else:
            columns[name] = Column(name, values, typed=typed)
    if not typed and _is_row(columns):
        raise ValueError(
            f"Expected the names of the columns in the first line of {paths[0]}. Received what looks like a row: "
            f"{', '.join(columns)}. Write a line with the names before it."
        )
    return Table(file, columns, unread)


def _values(values: pl.Series) -> pl.Series | None:
    """Returns values as one of the types that prepare reads; None if they are of another."""
    dtype = values.dtype
    if isinstance(dtype, pl.Binary):
        try:
            return values.cast(pl.String)
        except pl.exceptions.ComputeError:
            return None
    if isinstance(dtype, pl.Array):
        return _values(values.arr.to_list())
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    return None if isinstance(inner, (pl.Struct, pl.Duration, pl.Object, pl.List, pl.Array, pl.Binary)) else values


def _is_row(columns: dict[str, Column]) -> bool:
    """Returns whether the names of columns are values: a number or time among such, and a text that its column has."""
    numbers = [
        name
        for name, column in columns.items()
        if re.match(r"-?\d", name) and (column.is_numeric or column.timestamp_format is not None)
    ]
    return bool(numbers) and any(name in column.texts for name, column in columns.items() if name not in numbers)
