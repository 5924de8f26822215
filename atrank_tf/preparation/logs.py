"""The logs folder: its files, and the rules by which they are cleaned.

    logs/behaviors/<group>.{parquet,csv,csv.gz}     user_id, <id column of the entity>, action, timestamp
    logs/catalog/<entity>.{parquet,csv,csv.gz}      <id column>, one column per side feature, the name
    logs/catalog/user.{parquet,csv,csv.gz}          user_id, one column per feature of the user
    logs/impressions/<task>.{parquet,csv,csv.gz}    request_id, user_id, timestamp, <id column>, label, context columns

Or a folder of parts, `logs/behaviors/<group>/` or, as Spark writes it, `logs/behaviors/<group>.parquet/`; in it may be
partitions (`date=2024-01-31/`), whose values are no column. Or what the schema names by `file`: a file, a folder of
parts, or all files whose names fit a pattern (`purchases_*.csv`).

The rules of cleaning, which `atrank_tf.preparation.cleaning` applies.

Refused, with the file, the row (1 is the first row of data) and the value:

- a missing file, a file without rows, two files for one name, a missing column, parts that do not go together, a CSV
  file that is not UTF-8;
- a timestamp column without a single number or date; a timestamp after the year 2100, which is milliseconds or finer;
- ids that are numbers with a fraction, or floats too large to be exact; labels other than 0 and 1; numeric columns with
  a text that is no number;
- lists in a column that is declared to have a single value;
- an id, or a value of a feature, with more than 1,000 characters or with the character NUL;
- a file of which nothing is left after dropping.

Dropped and counted, with the first row remembered; a row counts under the first reason that holds:

- a missing user id, object id, action, request id or timestamp (null, empty text, NaN; in a CSV file
  also NULL and what else docs/data_format.md lists);
- a timestamp that is neither a number nor ISO 8601, or is not after 1970-01-01;
- an action that the schema does not name;
- an exact duplicate: same user, object, action and timestamp; the first row stays;
- a candidate that stands twice in a request: the first row stays, with label 1 if any of them has it;
- a catalog row whose id was there before.

Timestamps are Unix seconds; dates and datetimes, of Parquet or as text of ISO 8601, are converted (UTC where no zone is
given), fractions of a second are cut off. Id 0 is an id like any other. A request's time is the earliest of its rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from atrank_tf.paths import local_path
from atrank_tf.schema import Candidates, Schema, User

BEHAVIORS, CATALOG, IMPRESSIONS = "behaviors", "catalog", "impressions"
USER = "user"
"""Name of the catalog that holds what is known of the users."""
USER_ID = "user_id"
"""The feature of users that is who they are: nothing that a catalog has to say."""
USERS = f"{CATALOG}/{USER}"
"""Label of its file."""
SECTIONS = {BEHAVIORS: "groups", CATALOG: "entities", IMPRESSIONS: "tasks"}
"""Kind of file -> section of the schema that says what is in it."""
ENDINGS = (".parquet", ".csv", ".csv.gz")
_LISTED = 20
"""Most files that a message lists."""


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """One file of a logs folder, or parts that are read as one file.

    Args:
        kind: "behaviors", "catalog" or "impressions".
        name: the group, entity (or "user") or task.
        path: where it is: a file, a folder of parts, or a pattern that the names of all parts fit.
    """

    kind: str
    name: str
    path: Path

    @property
    def label(self) -> str:
        """How messages and the manifest name it: "behaviors/purchase"."""
        return f"{self.kind}/{self.name}"

    @cached_property
    def parts(self) -> tuple[Path, ...]:
        """The files that are read, one after the other: the file itself, or the parts by name."""
        found = tuple(parts_of(self.path))
        return found if found or self.path.is_dir() else (self.path,)

    @property
    def typed(self) -> bool:
        """Whether the file says what its columns hold."""
        return self.parts[0].suffix == ".parquet"


@dataclass(frozen=True, kw_only=True)
class LogFiles:
    """The files of a logs folder.

    Args:
        used: label -> file, in the order in which they are read.
        ignored: paths in the folder that the schema names no use for.
    """

    used: Mapping[str, LogFile]
    ignored: tuple[str, ...]


def find_logs(logs: str, schema: Schema, *, some: bool = False) -> LogFiles:
    """Finds the files of a logs folder that a schema asks for; their paths are absolute.

    Args:
        logs: the folder.
        schema: the schema.
        some: whether some files will do, one of behaviors or impressions among them: of the others there is nothing
            new.

    Raises:
        FileNotFoundError: the folder or a file is missing; lists what was found.
        ValueError: there are two files for one name, or a folder with something else than parts of one kind; or the
            folder is in an object store.
    """
    root = local_path(logs)
    profile = catalog_profile(schema)
    if USER in schema.entities and (profile.features or profile.dense):
        raise ValueError("[entities.user] and [user] would both read catalog/user. Rename the entity.")
    if not root.is_dir():
        raise FileNotFoundError(f"Expected a logs folder at {logs}. Found none.")
    folders = [root / kind for kind in (BEHAVIORS, CATALOG, IMPRESSIONS)]
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    found = [path for path in found if not path.name.startswith(".")]
    used: dict[str, LogFile] = {}
    for kind, name, named, required in _wanted(schema):
        if named:
            if some and not (parts_of(root / named) or (root / named).is_file()):
                continue
            used[f"{kind}/{name}"] = LogFile(kind=kind, name=name, path=root / named)
            _check_named(used[f"{kind}/{name}"], root)
            continue
        allowed = {root / kind / f"{name}{ending}": ending for ending in ("", *ENDINGS)}
        paths = [path for path, ending in allowed.items() if path in found and (ending or path.is_dir())]
        if len(paths) > 1:
            raise ValueError(f"Expected one file for {kind}/{name} in {logs}. Found {_listed(paths, root)}.")
        if not paths and required and not some:
            section = "user" if (kind, name) == (CATALOG, USER) else f"{SECTIONS[kind]}.{name}"
            beside = [path for path in sorted(root.iterdir()) if path.name.endswith(ENDINGS)]
            raise FileNotFoundError(
                f"Expected {kind}/{name} ({', '.join(ENDINGS)}) in {logs}. Found {_listed([*found, *beside], root)}. "
                f"A file of another name or place is named by file in [{section}] of the schema."
            )
        if paths:
            used[f"{kind}/{name}"] = LogFile(kind=kind, name=name, path=paths[0])
            _check_parts(used[f"{kind}/{name}"])
    if all(file.kind == CATALOG for file in used.values()):
        raise FileNotFoundError(
            f"Expected {BEHAVIORS} or {IMPRESSIONS} in {logs}, something new. Found {_listed(found, root)}."
        )
    taken = {path for file in used.values() for path in (file.path, *file.parts)}
    if any(file.path.parent == root for file in used.values()):
        found += [path for path in sorted(root.iterdir()) if path.name.endswith(ENDINGS)]
    ignored = tuple(path.relative_to(root).as_posix() for path in found if path not in taken)
    return LogFiles(used=used, ignored=ignored)


def catalog_profile(schema: Schema) -> User:
    """Returns the features of users that `catalog/user` holds: all but `USER_ID`."""
    features = {column: feature for column, feature in schema.user.features.items() if column != USER_ID}
    return replace(schema.user, features=features)


def parts_of(path: Path) -> list[Path]:
    """Returns the parts of a folder or a pattern by name, but for what Spark and others put beside them.

    Partitions of a folder (`date=2024-01-31/`) are looked into. Of a single file there are no parts.
    """
    pattern = "*" if path.is_dir() else path.name
    folder = path if path.is_dir() else path.parent
    if "*" not in pattern or not folder.is_dir():
        return []
    found = sorted(part for part in folder.glob(pattern) if not part.name.startswith(("_", ".")))
    return [part for one in found for part in (parts_of(one) if one.is_dir() and "=" in one.name else (one,))]


def _check_named(file: LogFile, root: Path) -> None:
    """Raises unless what the schema names by `file` is there, and of one kind."""
    missing = [part for part in file.parts if not part.exists()]
    if missing:
        names = sorted(path for path in root.rglob("*") if path.name.endswith(ENDINGS))
        raise FileNotFoundError(
            f"Expected {file.path.relative_to(root)} in {root}, which the schema names for {file.label}. "
            f"Found {_listed(names[:_LISTED], root)}."
        )
    _check_parts(file)


def _check_parts(file: LogFile) -> None:
    # One of each kind is enough to be told of: there may be thousands.
    kinds = {_kind(part): part.name for part in reversed(file.parts)}
    if len(kinds) != 1 or "" in kinds:
        raise ValueError(
            f"Expected files in the folder {file.path}, all .parquet or all .csv and .csv.gz. "
            f"Found {', '.join(sorted(kinds.values())) or 'none'}. Those that begin with _ or . are left out."
        )


def _kind(path: Path) -> str:
    if path.is_dir() or not path.name.endswith(ENDINGS):
        return ""
    return "parquet" if path.suffix == ".parquet" else "csv"


def _wanted(schema: Schema) -> Iterator[tuple[str, str, str, bool]]:
    """Yields kind, name, the file that the schema names or "", and whether it must be there."""
    for name, entity in schema.entities.items():
        yield CATALOG, name, entity.file, bool(entity.features or entity.dense or entity.name)
    profile = catalog_profile(schema)
    if profile.features or profile.dense:
        yield CATALOG, USER, profile.file, True
    for name, group in schema.groups.items():
        yield BEHAVIORS, name, group.file, True
    for name, task in schema.tasks.items():
        if task.candidates is Candidates.IMPRESSIONS:
            yield IMPRESSIONS, name, task.file, True


def _listed(paths: list[Path], root: Path) -> str:
    return ", ".join(path.relative_to(root).as_posix() for path in paths) or "nothing"
