"""The logs folder: which files it has, and what is taken from them.

    logs/behaviors/<group>.{parquet,csv,csv.gz}     user_id, <id column of the entity>, action, timestamp
    logs/catalog/<entity>.{parquet,csv,csv.gz}      <id column>, one column per side feature
    logs/catalog/user.{parquet,csv,csv.gz}          user_id, one column per feature of the user
    logs/impressions/<task>.{parquet,csv,csv.gz}    request_id, user_id, timestamp, <id column>, label, context columns

The rules of cleaning, which `atrank_tf.data.cleaning` applies.

Refused, with the file, the row (1 is the first row of data) and the value:

- a missing file, a file without rows, two files for one name, a missing column;
- a timestamp column without a single number or date; a timestamp after the year 2100, which is milliseconds or finer;
- ids that are numbers with a fraction; labels other than 0 and 1; numeric columns with a text that is no number;
- lists in a column that is declared to have a single value;
- a file of which nothing is left after dropping.

Dropped and counted, with the first row remembered; a row counts under the first reason that holds:

- a missing user id, object id, action, request id or timestamp (null, empty text, NaN);
- a timestamp that is no number, or is not after 1970-01-01;
- an action that the schema does not name;
- an exact duplicate: same user, object, action and timestamp; the first row stays;
- a candidate that stands twice in a request: the first row stays, with label 1 if any of them has it;
- a catalog row whose id was there before.

Timestamps are Unix seconds; dates and datetimes of a Parquet file are converted (UTC where no zone is given), fractions
of a second are cut off. Id 0 is an id like any other. A request's moment is the earliest of its rows.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from atrank_tf.schema import Candidates, Features, Schema, suggestion

BEHAVIORS, CATALOG, IMPRESSIONS = "behaviors", "catalog", "impressions"
USER = "user"
"""Name of the catalog that holds what is known of the users."""
USER_ID = "user_id"
"""The feature of users that is who they are: nothing that a catalog has to say."""
USERS = f"{CATALOG}/{USER}"
"""Label of its file."""
_ENDINGS = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """One file of a logs folder.

    Args:
        kind: "behaviors", "catalog" or "impressions".
        name: the group, entity (or "user") or task.
        path: where it is.
    """

    kind: str
    name: str
    path: Path

    @property
    def label(self) -> str:
        """How messages and the manifest name it: "behaviors/purchase"."""
        return f"{self.kind}/{self.name}"

    @property
    def typed(self) -> bool:
        """Whether the file says what its columns hold."""
        return self.path.suffix == ".parquet"


@dataclass(frozen=True, kw_only=True)
class LogFiles:
    """The files of a logs folder.

    Args:
        used: label -> file, in the order in which they are read.
        ignored: paths in the folder that the schema names no use for.
    """

    used: Mapping[str, LogFile]
    ignored: tuple[str, ...]


def find_logs(logs: str, schema: Schema) -> LogFiles:
    """Finds the files of a logs folder that a schema asks for.

    Raises:
        FileNotFoundError: the folder or a file is missing; lists what was found.
        ValueError: there are two files for one name.
    """
    root = Path(logs)
    profile = catalog_profile(schema)
    if USER in schema.entities and (profile.features or profile.dense):
        raise ValueError("[entities.user] and [user] would both read catalog/user. Rename the entity.")
    if not root.is_dir():
        raise FileNotFoundError(f"Expected a logs folder at {logs}. Found none.")
    folders = [root / kind for kind in (BEHAVIORS, CATALOG, IMPRESSIONS)]
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    found = [path for path in found if path.is_file() and not path.name.startswith(".")]
    used: dict[str, LogFile] = {}
    for kind, name, required in _wanted(schema):
        paths = [root / kind / f"{name}{ending}" for ending in _ENDINGS]
        paths = [path for path in paths if path in found]
        if len(paths) > 1:
            raise ValueError(f"Expected one file for {kind}/{name} in {logs}. Found {_listed(paths, root)}.")
        if not paths and required:
            raise FileNotFoundError(
                f"Expected {kind}/{name} ({', '.join(_ENDINGS)}) in {logs}. Found {_listed(found, root)}."
            )
        if paths:
            used[f"{kind}/{name}"] = LogFile(kind=kind, name=name, path=paths[0])
    taken = {file.path for file in used.values()}
    ignored = tuple(path.relative_to(root).as_posix() for path in found if path not in taken)
    return LogFiles(used=used, ignored=ignored)


def catalog_profile(schema: Schema) -> Features:
    """Returns the features of users that `catalog/user` holds: all but `USER_ID`."""
    features = {column: feature for column, feature in schema.user.features.items() if column != USER_ID}
    return replace(schema.user, features=features)


def open_log(file: LogFile, columns: Mapping[str, str], staging: Path) -> pl.LazyFrame:
    """Opens a file for repeated scans; nothing is held in memory.

    A CSV file is copied to Parquet once, all columns as text, since each scan of a compressed file unpacks all of it.

    Args:
        file: the file.
        columns: name in the frame -> the file's own name.
        staging: folder for the copy.

    Returns:
        A frame with the columns asked for, and `row`: 1 for the first row of data.

    Raises:
        ValueError: the file cannot be read, has no rows or lacks a column.
    """
    with as_error(file.path):
        if file.typed:
            frame = pl.scan_parquet(file.path, glob=False, row_index_name="row", row_index_offset=1)
        else:
            frame = pl.scan_csv(file.path, glob=False, infer_schema=False, row_index_name="row", row_index_offset=1)
        present = [name for name in frame.collect_schema().names() if name != "row"]
        for name in columns.values():
            if name not in present:
                raise ValueError(f'Missing column "{name}" in {file.path}. {suggestion(name, present)}')
        frame = frame.select("row", *(pl.col(own).alias(name) for name, own in columns.items()))
        if not file.typed:
            copy = staging / f"{file.kind}-{file.name}.parquet"
            frame.sink_parquet(copy, compression="lz4", mkdir=True)
            frame = pl.scan_parquet(copy, glob=False)
        if not frame.select(pl.len()).collect(engine="streaming").item():
            raise ValueError(f"Expected rows in {file.path}. Found none.")
    return frame


@contextmanager
def as_error(path: Path) -> Iterator[None]:
    """Turns what polars has to say about a file into a ValueError that names it; of the disk, into an OSError.

    Whatever reads a file is done within: a Parquet file may turn out to be damaged in a column that nobody read before.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # A panic is no `Exception`.
        reason = str(error).split("\n", 1)[0].rstrip(".")
        if "IO error" in reason:
            raise OSError(f"While {path} was read: {reason}. Is there room on the disk?") from error
        raise ValueError(f"{path} cannot be read: {reason}.") from error


def _wanted(schema: Schema) -> Iterator[tuple[str, str, bool]]:
    """Yields kind, name and whether the file must be there."""
    for name, entity in schema.entities.items():
        yield CATALOG, name, bool(entity.features or entity.dense)
    profile = catalog_profile(schema)
    if profile.features or profile.dense:
        yield CATALOG, USER, True
    for name in schema.groups:
        yield BEHAVIORS, name, True
    for name, task in schema.tasks.items():
        if task.candidates is Candidates.IMPRESSIONS:
            yield IMPRESSIONS, name, True


def _listed(paths: list[Path], root: Path) -> str:
    return ", ".join(path.relative_to(root).as_posix() for path in paths) or "nothing"
