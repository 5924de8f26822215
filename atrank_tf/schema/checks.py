"""Checks a schema beyond its types: sizes in range, names that exist and do not collide."""

import datetime
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from atrank_tf.schema.affinity import affinity_tables
from atrank_tf.schema.inputs import REQUEST_TIME, SEPARATOR, USER
from atrank_tf.schema.reading import suggestion
from atrank_tf.schema.spec import (
    ALL_TABLES,
    LATEST,
    MOST_HASHES,
    PER_SECOND,
    SECONDS,
    Candidates,
    Exclude,
    Features,
    IdFeature,
    Negatives,
    Schema,
    SplitKind,
    Task,
    Ties,
)

_NAME_FORBIDDEN = set("/:, \t\n")

NAMES_OF_REQUESTS = ("affinity", "candidates", "label", REQUEST_TIME, "row_lengths", "timestamp")
"""Names that batches and records have for parts of every request; no context column may have one of them."""


def check(schema: Schema) -> None:
    """Checks a schema; raises ValueError at the first mistake and names its place in the file."""
    _names(schema)
    _tables(schema)
    for name, entity in schema.entities.items():
        place = f"entities.{name}"
        if entity.id.table:
            _known("table", entity.id.table, schema.tables, f"{place}.id")
        elif not (entity.features or entity.dense):
            raise ValueError(
                f"Expected a table in [{place}.id], or columns in features or dense of [{place}]: without either, all "
                f"objects are the same to a model. Received: id without a table, and no columns."
            )
        if entity.id.dtype not in ("", "string", "int64"):
            raise ValueError(f'Expected "string" or "int64" for {place}.id.dtype. Received: {entity.id.dtype!r}.')
        _no_slash(entity.id.column, f"{place}.id", "columns = { id = %r }")
        if entity.id.column in (*entity.features, *entity.dense):
            raise ValueError(f'Column "{entity.id.column}" of [{place}] is both the id and a feature. Keep one.')
        if entity.name == entity.id.column:
            raise ValueError(f'Column "{entity.name}" of [{place}] is both the id and the name. Leave the name out.')
        _features(entity, schema, place)
        _file(entity.file, place)
        _columns(entity.columns, ("id",), place)
    _features(schema.user, schema, "user")
    _file(schema.user.file, "user")
    _columns(schema.user.columns, ("user_id",), "user")
    _input_columns(schema.user, "user")
    for name, group in schema.groups.items():
        place = f"groups.{name}"
        _known("entity", group.entity, schema.entities, place)
        if not group.actions:
            raise ValueError(f"Expected at least one action in [{place}]. Received: actions=[].")
        _unique(group.actions, f"{place}.actions")
        _positive(group.max_length, "max_length", place)
        _not_negative(group.width, "width", place)
        _columns(group.columns, ("user_id", "id", "action", "timestamp"), place)
        _file(group.file, place)
        _timestamp_format(group.timestamp_format, place)
    _tasks(schema)
    # Last: a misspelt name leaves the right one unused, and the misspelling is the better news.
    _unused_entities(schema)
    _unused_tables(schema)
    _compared_tables(schema)
    _time_and_split(schema)


def _names(schema: Schema) -> None:
    for room in ("tables", "entities", "groups", "tasks"):
        for name in getattr(schema, room):
            if not name or _NAME_FORBIDDEN & set(name):
                raise ValueError(f"Expected a name without spaces, commas, '/' or ':' in [{room}]. Received: {name!r}.")
            _joinable(name, room)
    for room in ("tables", "entities", "groups", "tasks"):
        if not getattr(schema, room):
            raise ValueError(f"Expected at least one entry in [{room}]. Received: none.")
    owners = {USER: "user"}
    for room in ("groups", "tasks"):
        for name in getattr(schema, room):
            if name in owners:
                raise ValueError(
                    f"Expected another name for [{room}.{name}]: [{owners[name]}] has it, and both would give it to "
                    f'inputs of the model. Rename one, for example to "{room.removesuffix("s")}_{name}".'
                )
            owners[name] = f"{room}.{name}"


def _joinable(name: str, place: str) -> None:
    """Raises ValueError if a joined name would not tell its parts: `SEPARATOR` within a part, or "_" at its end."""
    if SEPARATOR in name or name.endswith("_"):
        hint = re.sub("_+", "_", name).rstrip("_")
        raise ValueError(
            f"Expected a name without {SEPARATOR!r}, which joins names to those of inputs, and without '_' at its end "
            f"in [{place}]. Received: {name!r}." + (f' Did you mean "{hint}"?' if hint else "")
        )


def _input_columns(features: Features, place: str) -> None:
    """Checks columns that name inputs of the model: those of the user and of contexts."""
    for column in (*features.features, *features.dense):
        _joinable(column, place)


def _tables(schema: Schema) -> None:
    for name, table in schema.tables.items():
        _not_negative(table.dim, "dim", f"tables.{name}")
        _positive(table.min_count, "min_count", f"tables.{name}")
        _not_negative(table.rows, "rows", f"tables.{name}")
        _not_negative(table.hash, "hash", f"tables.{name}")
        if not 0 < table.hashes <= MOST_HASHES:
            raise ValueError(f"Expected hashes from 1 to {MOST_HASHES} in [tables.{name}]. Received: {table.hashes}.")
        if table.coded and table.min_count != 1:
            kind, other = ("hash", "hash") if table.hash else ("dim = 0", "give it a dim")
            raise ValueError(
                f"Values of a table with {kind} are not counted. Received: min_count={table.min_count} in "
                f"[tables.{name}]. Leave it out, or {other}."
            )
        if table.hash and not table.dim:
            raise ValueError(
                f"hash in [tables.{name}] has no effect with dim = 0, which has no rows. Received: hash={table.hash}."
            )
        if table.hashes > 1 and not table.hash:
            raise ValueError(f"hashes in [tables.{name}] has no effect without hash. Received: hashes={table.hashes}.")


def _compared_tables(schema: Schema) -> None:
    """Raises ValueError where a table with `dim = 0` is not of side features, which alone are compared."""
    places = {f"[entities.{name}.id]": [entity.id.table] for name, entity in schema.entities.items()}
    sides = {"[user]": schema.user} | {f"[tasks.{name}.context]": task.context for name, task in schema.tasks.items()}
    places |= {place: [each.table for each in side.features.values()] for place, side in sides.items()}
    for place, tables in places.items():
        for table in tables:
            if table and not schema.tables[table].dim:
                raise ValueError(
                    f"Expected a table with dim > 0 in {place}: with dim = 0 values have no embedding, and only side "
                    f'features of entities are compared. Received: table "{table}".'
                )


def _unused_entities(schema: Schema) -> None:
    used = {group.entity for group in schema.groups.values()}
    for name in schema.entities:
        if name not in used:
            raise ValueError(f"[entities.{name}] is used by no group. Remove it or name it there.")


def _unused_tables(schema: Schema) -> None:
    used = {entity.id.table for entity in schema.entities.values()}
    for features in (*schema.entities.values(), schema.user, *(task.context for task in schema.tasks.values())):
        used |= {feature.table for feature in features.features.values()}
    for name in schema.tables:
        if name not in used:
            raise ValueError(
                f"[tables.{name}] is used by no entity, user or context feature. Remove it or name it there."
            )


def _features(features: Features, schema: Schema, place: str) -> None:
    for column in (*features.features, *features.dense):
        _no_slash(column, place, "column = %r")
    for column, feature in features.features.items():
        _known("table", feature.table, schema.tables, f"{place}.features.{column}")
        _positive(feature.max_values, "max_values", f"{place}.features.{column}")
        if not feature.separator:
            raise ValueError(f"Expected a separator in [{place}.features.{column}]. Received: ''.")
        if feature.max_values == 1 and feature.separator != IdFeature(table="").separator:
            raise ValueError(
                f"separator in [{place}.features.{column}] has no effect: with max_values = 1 the whole text is one "
                f"value. Received: separator={feature.separator!r}. Set max_values to the most values of an object."
            )
        if column in features.dense:
            raise ValueError(
                f'Column "{column}" of [{place}] is both in features and in dense. Keep it in dense if its size means '
                "something, as a price; else in features."
            )
    for column, dense in features.dense.items():
        if not math.isfinite(dense.mean):
            raise ValueError(f"mean must be finite. Received: mean={dense.mean} in [{place}.dense.{column}].")
        if not 0 <= dense.variance < math.inf:
            raise ValueError(
                f"variance must not be negative. Received: variance={dense.variance} in [{place}.dense.{column}]."
            )


def _no_slash(column: str, place: str, elsewhere: str) -> None:
    if "/" in column:  # Columns name inputs and weights of the model.
        named = (elsewhere % column).replace("'", '"')
        raise ValueError(
            f"Expected a column without '/' in [{place}]. Received: {column!r}. Take another name here, and say what "
            f"the file calls it: {named}."
        )


def _tasks(schema: Schema) -> None:
    for name, task in schema.tasks.items():
        place = f"tasks.{name}"
        _known("group", task.group, schema.groups, place)
        for action in task.actions:
            _known("action", action, schema.groups[task.group].actions, place)
        _unique(task.actions, f"{place}.actions")
        for kind in ("uniform", "popularity", "history"):
            _not_negative(getattr(task.negatives, kind), kind, f"{place}.negatives")
        if task.candidates is Candidates.SAMPLED and not task.negatives.total:
            raise ValueError(
                f'Expected negatives in [{place}], as {{ uniform = 4 }}, or candidates = "impressions". Received: none.'
            )
        if task.negatives.history and not _history_left(schema, task):
            raise ValueError(
                f'[{place}.negatives] has history = {task.negatives.history}, and exclude = "ever_chosen", which '
                "leaves nothing of it: all that users do with these objects is choosing. "
                'Use exclude = "same_moment", or uniform.'
            )
        if task.candidates is Candidates.IMPRESSIONS and task.negatives != Negatives():
            raise ValueError(f'[{place}] has candidates = "impressions" and negatives. Keep one.')
        if task.candidates is Candidates.IMPRESSIONS and task.actions:
            raise ValueError(
                f'actions in [{place}] have no effect: with candidates = "impressions" the label of a row says whether '
                f"it is positive. Received: actions={list(task.actions)}. Leave them out."
            )
        for key in ("file", "columns", "timestamp_format"):
            if task.candidates is Candidates.SAMPLED and getattr(task, key):
                raise ValueError(
                    f"{key} in [{place}] has no effect: it is of impressions, which are read with candidates = "
                    f'"impressions". What is said of behaviors stands in [groups.{task.group}].'
                )
        if not task.negatives.unseen and not (task.negatives.uniform or task.negatives.history):
            raise ValueError(
                f"unseen in [{place}.negatives] has no effect without uniform or history: draws by popularity are of "
                "what was seen. Received: unseen=false. Leave it out."
            )
        if task.candidates is Candidates.SAMPLED and (task.context.features or task.context.dense):
            raise ValueError(f'[{place}.context] needs candidates = "impressions": a sampled negative has no context.')
        if task.candidates is Candidates.IMPRESSIONS and task.ties is Ties.ORDERED:
            raise ValueError(f'[{place}] has impressions, which have no place in the log: use ties = "strict".')
        for table in task.affinity if task.affinity != ALL_TABLES else ():
            _known("table", table, schema.tables, f"{place}.affinity")
            # A prepared schema may have lost groups since it was checked: a model reads some of them.
            if not schema.prepared and table not in (shared := affinity_tables(schema, name)):
                raise ValueError(
                    f'Table "{table}" in [{place}.affinity] has no effect: candidates and behaviors do not both have '
                    f"values of it. {suggestion(table, shared)}"
                )
        _features(task.context, schema, f"{place}.context")
        _input_columns(task.context, f"{place}.context")
        for column in (*task.context.features, *task.context.dense):
            if column in NAMES_OF_REQUESTS:
                raise ValueError(
                    f'Column "{column}" of [{place}.context] is called as something that every request has: '
                    f"{', '.join(NAMES_OF_REQUESTS)}. Rename it in the log."
                )
        if task.position:
            _known("position", task.position, task.context.dense, place)
        for column in task.of_request:
            _known("of_request", column, (*task.context.features, *task.context.dense), place)
            several = column in task.context.features and task.context.features[column].max_values > 1
            if several or column == task.position:
                raise ValueError(
                    f"Expected columns of [{place}.context] with one value in of_request of [{place}], and not the "
                    f'position. Received: of_request={list(task.of_request)}. Leave out "{column}".'
                )
        _columns(task.columns, ("request_id", "user_id", "id", "timestamp", "label"), place)
        _file(task.file, place)
        _timestamp_format(task.timestamp_format, place)


def _history_left(schema: Schema, task: Task) -> bool:
    """Returns whether a user's history may hold an object that is not excluded from the task's negatives."""
    own = schema.groups[task.group]
    others = (group for name, group in schema.groups.items() if name != task.group and group.entity == own.entity)
    not_chosen = set(own.actions) - set(task.actions or own.actions)
    return task.negatives.exclude is not Exclude.EVER_CHOSEN or bool(not_chosen) or any(others)


def _time_and_split(schema: Schema) -> None:
    if schema.time.unit not in SECONDS:
        raise ValueError(f'Unknown unit "{schema.time.unit}" in [time]. {suggestion(schema.time.unit, SECONDS)}')
    if not 1 <= schema.time.buckets <= 32:
        raise ValueError(f"buckets must be between 1 and 32. Received: buckets={schema.time.buckets} in [time].")
    split = schema.split
    if split.kind is SplitKind.BY_TIME and not 0 < split.validation_from < split.test_from:
        raise ValueError(
            "Expected 0 < validation_from < test_from in [split] (dates or Unix seconds). Received: "
            f"validation_from={_moment(split.validation_from)}, test_from={_moment(split.test_from)}."
        )
    if split.kind is SplitKind.LEAVE_LAST_OUT and (split.validation_from or split.test_from):
        raise ValueError('[split] has validation_from or test_from, which need kind = "by_time".')


def _moment(seconds: int) -> str:
    """Returns Unix seconds as a person gave them: a date, where they are one."""
    if not 0 < seconds <= LATEST or seconds % SECONDS["day"]:
        return str(seconds)
    return str(datetime.datetime.fromtimestamp(seconds, datetime.UTC).date())


def _known(kind: str, name: str, valid: Mapping[str, Any] | Iterable[str], place: str) -> None:
    if name not in valid:
        raise ValueError(f'Unknown {kind} "{name}" in [{place}]. {suggestion(name, valid)}')


def _columns(columns: Mapping[str, str], valid: tuple[str, ...], place: str) -> None:
    for name in columns:
        _known("column", name, valid, f"{place}.columns")


def _file(file: str, place: str) -> None:
    if file.startswith("/") or ".." in file.split("/") or "\\" in file:
        raise ValueError(f"Expected a file within the logs folder for {place}.file. Received: {file!r}.")


def _timestamp_format(form: str, place: str) -> None:
    units = [*SECONDS, *PER_SECOND]
    if form and "%" not in form and form not in units:
        raise ValueError(
            f'Unknown timestamp_format "{form}" in [{place}]. {suggestion(form, units)} Or a format of texts, as '
            '"%d.%m.%Y %H:%M".'
        )


def _unique(names: tuple[str, ...], place: str) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"Expected each name once for {place}. Received: {list(names)}.")


def _positive(number: int, name: str, place: str) -> None:
    if number <= 0:
        raise ValueError(f"{name} must be positive. Received: {name}={number} in [{place}].")


def _not_negative(number: int, name: str, place: str) -> None:
    if number < 0:
        raise ValueError(f"{name} must not be negative. Received: {name}={number} in [{place}].")
