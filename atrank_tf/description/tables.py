"""Finds the tables of a folder: CSV and Parquet files of any name, and parts that are one table."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from atrank_tf.description.columns import Column
from atrank_tf.paths import local_path
from atrank_tf.preparation.logs import ENDINGS
from atrank_tf.preparation.open_log import as_error, scan_csv


@dataclass(frozen=True)
class Table:
    """One table of a folder of logs.

    Args:
        file: what `file` in the schema says: a path within the folder, or a pattern.
        columns: name -> column.
    """

    file: str
    columns: dict[str, Column]

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


def read_tables(logs: str) -> list[Table]:
    """Reads a folder, and the folders in it.

    Args:
        logs: the folder. Files that are no CSV or Parquet, and names that begin with `.` or `_`, are left out.

    Raises:
        FileNotFoundError: there is no such folder, or no table in it.
        ValueError: a file cannot be read.
    """
    root = local_path(logs)
    if not root.is_dir():
        raise FileNotFoundError(f"Expected a folder of logs at {logs}. Found none.")
    tables = [table for folder in _folders(root) for table in _of_folder(folder, root) if table.columns and table.rows]
    if not tables:
        found = ", ".join(sorted(path.name for path in root.iterdir())[:20])
        raise FileNotFoundError(
            f"Expected tables ({', '.join(ENDINGS)}) with rows in {logs}. Found {found or 'nothing'}."
        )
    return sorted(tables, key=lambda table: table.file)


def _folders(root: Path) -> Iterator[Path]:
    yield root
    for path in sorted(root.rglob("*")):
        if path.is_dir() and not any(name.startswith((".", "_")) for name in path.relative_to(root).parts):
            yield path


def _of_folder(folder: Path, root: Path) -> Iterator[Table]:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name.endswith(ENDINGS)]
    files = [path for path in files if not path.name.startswith((".", "_")) and path.stat().st_size]
    together: dict[tuple[str, str, tuple[str, ...]], list[Path]] = defaultdict(list)
    for path in files:
        # What is left of a name without its date or number: parts of one table have the same.
        stem = re.sub(r"[-_. ]*\d[\d\-_.T ]*$|(?<=part)-\d.*$", "", _bare(path.name))
        together[stem, path.name.removeprefix(_bare(path.name)), tuple(_scan(path).collect_schema())].append(path)
    for (stem, ending, _), paths in together.items():
        pattern = f"{stem}*{ending}"
        if len(paths) > 1 and folder != root and len(paths) == len(files) and stem in ("", "part"):
            yield _table(folder.relative_to(root).as_posix(), paths)
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
    frames = []
    for path in paths:
        with as_error(path):
            frames.append(_scan(path).collect())
    frame = pl.concat(frames, how="vertical_relaxed")
    typed = paths[0].suffix == ".parquet"
    columns = {name: Column(name, frame[name], typed=typed) for name in frame.columns}
    if not typed and _is_row(columns):
        raise ValueError(
            f"Expected the names of the columns in the first line of {paths[0]}. Received what looks like a row: "
            f"{', '.join(columns)}. Write a line with the names before it."
        )
    return Table(file, columns)


def _is_row(columns: dict[str, Column]) -> bool:
    """Returns whether the names of columns are values: a number or time among such, and a text that its column has."""
    numbers = [
        name
        for name, column in columns.items()
        if re.match(r"-?\d", name) and (column.is_numeric or column.timestamp_format is not None)
    ]
    return bool(numbers) and any(name in column.texts for name, column in columns.items() if name not in numbers)
