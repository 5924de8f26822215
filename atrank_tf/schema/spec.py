"""Dataclasses of the schema file: what users act on, how, and what to predict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from atrank_tf.schema.reading import suggestion

PADDING = 0
"""Row of every table and vocabulary that means "nothing here"."""
UNKNOWN = 1
"""Row of every table and vocabulary that all unknown values share: never seen, or rarer than `min_count`."""
FIRST_ROW = 2
"""Row of the first real value in every table and vocabulary."""

MOST_HASHES = 5
"""Most rows that a value may have in a table with `hash`."""

ALL_TABLES = ("*",)
"""Tables of a task's `affinity`: all that candidates and behaviors share."""

LATEST = 4_102_444_800
"""2100-01-01 in Unix seconds: a later time is in milliseconds, or finer."""

SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
"""Time units that `[time] unit` may name, in seconds."""
_LARGEST_LOG = 88.0
"""Of float32: there is no larger number."""
PER_SECOND = {"millisecond": 1_000, "microsecond": 1_000_000, "nanosecond": 1_000_000_000}
"""Units of timestamps that `timestamp_format` may name beside `SECONDS`: how many are a second."""


class Candidates(StrEnum):
    """Source of a task's candidates: a positive with sampled negatives, or requests of an impression log."""

    SAMPLED = "sampled"
    IMPRESSIONS = "impressions"


class Exclude(StrEnum):
    """Rule for which objects that the user chose are never negatives; see `Negatives`.

    `same_moment`: positives of the user at the timestamp of the target, which were chosen with it. What was chosen
    before or afterwards may be a negative, as in production. `ever_chosen`: positives of the user at any time.
    """

    SAME_MOMENT = "same_moment"
    EVER_CHOSEN = "ever_chosen"


class Ties(StrEnum):
    """Rule for behaviors of the same second as the target.

    `strict`: a history has none of them. `ordered`: it has those of the target's own group that come before the target
    in the log, and none of other groups, since the files of two groups have no common order.
    """

    STRICT = "strict"
    ORDERED = "ordered"


class Transform(StrEnum):
    """Transformation of a numeric column before it is standardized.

    `log`: sign(x) log(1 + |x|), for numbers with a long tail, as prices and counts.
    """

    NONE = "none"
    LOG = "log"


class SplitKind(StrEnum):
    """Rule that divides targets into training, validation and test; see `Split`."""

    LEAVE_LAST_OUT = "leave_last_out"
    BY_TIME = "by_time"


@dataclass(frozen=True, kw_only=True)
class Table:
    """An embedding table; features share it by naming it.

    Args:
        dim: dimension of an embedding; 0 for none: values are only compared, by affinity.
        min_count: values seen less often share the row `UNKNOWN`.
        hash: rows that all values share, by a hash of their text; 0 for a row for each value.
        hashes: rows of a value, whose sum is its embedding, where there is `hash`.
        rows: rows of the table, `PADDING` and `UNKNOWN` included. Filled in by prepare; 0 before.
    """

    dim: int
    min_count: int = 1
    hash: int = 0
    hashes: int = 1
    rows: int = 0

    @property
    def coded(self) -> bool:
        """Whether codes, which are hashes, stand for the values: so there is no vocabulary, and no value is unknown."""
        return self.hash > 0 or self.dim == 0


@dataclass(frozen=True, kw_only=True)
class IdFeature:
    """A categorical column, looked up in a table.

    Args:
        table: name of the table.
        max_values: most values that one object can have; 1 for a single-valued column. More are cut.
        separator: separates the values of a text column when `max_values` > 1.
        column: what the file calls it; "" means as here.
    """

    table: str
    max_values: int = 1
    separator: str = " "
    column: str = ""


@dataclass(frozen=True, kw_only=True)
class DenseFeature:
    """A numeric column, standardized with the mean and variance that prepare measures; a missing value becomes 0.

    Args:
        transform: what is done to its values first.
        mean: mean of what comes of that. Filled in by prepare.
        variance: variance of what comes of that. Filled in by prepare.
        column: what the file calls it; "" means as here.
    """

    transform: Transform = Transform.NONE
    mean: float = 0.0
    variance: float = 1.0
    column: str = ""

    @property
    def middle(self) -> float:
        """The value whose transform is the mean."""
        if self.transform is Transform.LOG:
            return math.copysign(math.expm1(min(abs(self.mean), _LARGEST_LOG)), self.mean)
        return self.mean


@dataclass(frozen=True, kw_only=True)
class Features:
    """Side features of an entity, of users, or of a candidate in its request (its context).

    Args:
        features: column -> categorical feature.
        dense: column -> numeric feature.
    """

    features: Mapping[str, IdFeature] = field(default_factory=dict)
    dense: Mapping[str, DenseFeature] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class User(Features):
    """User features: columns of `catalog/user`.

    Args:
        file: its file in the logs folder; "" means `catalog/user`.
        columns: standard column name ("user_id") -> the file's own name.
    """

    file: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EntityId:
    """The id of an entity.

    Args:
        column: its column in the catalog, and in behaviors and impressions files that name no other.
        table: table of the id's own embedding; "" for none: an object is then known by its side features and by what
            the user did with it before (affinity).
        dtype: "string" or "int64", as in the logs. Filled in by prepare; "" before.
    """

    column: str
    table: str = ""
    dtype: str = ""


@dataclass(frozen=True, kw_only=True)
class Entity(Features):
    """A kind of thing that users act on; its side features are columns of `catalog/<entity>`.

    Args:
        id: its id.
        name: column of its catalog with a title to read, for pages; no model sees it. "" for none.
        file: its catalog in the logs folder; "" means `catalog/<entity>`.
        columns: "id" -> what its catalog calls the id.
        rows: rows of its catalog, `PADDING` and `UNKNOWN` included. Filled in by prepare; 0 before.
    """

    id: EntityId
    name: str = ""
    file: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Group:
    """Behaviors on objects of one entity, read from `behaviors/<group>`.

    Args:
        entity: name of the entity.
        actions: every action that a behavior of this group can be. Where it is one, the file needs no such column.
        max_length: most behaviors of a history, the newest ones.
        width: D_g, dimension of the group's behavior embeddings; 0 means that of the object embedding.
        file: its file in the logs folder; "" means `behaviors/<group>`.
        keep_duplicates: whether rows of the same user, object, action and second are all kept: real repeats, as of
            units in a basket. Else the first one is.
        columns: standard column name ("user_id", "id", "action", "timestamp") -> the file's own name.
        timestamp_format: what the file's timestamps are: a key of `SECONDS` or `PER_SECOND` for numbers, a format with
            % for texts ("%d.%m.%Y %H:%M"); "" for Unix seconds, dates and datetimes.
    """

    entity: str
    actions: tuple[str, ...]
    max_length: int = 100
    width: int = 0
    file: str = ""
    keep_duplicates: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    timestamp_format: str = ""


@dataclass(frozen=True, kw_only=True)
class Negatives:
    """Numbers and kinds of sampled negatives for each positive; an experiment may train with another number.

    Args:
        uniform: drawn uniformly from the catalog.
        popularity: drawn in proportion to the number of behaviors (any action, any group) that `Split` counts.
        history: drawn from what the user did something with before the request, in any group of the entity. Where that
            is too little, the rest is drawn uniformly.
        exclude: which objects of the user's own are never drawn.
        unseen: whether `uniform` draws objects without a counted behavior too: new ones, and those that nobody wants.
    """

    uniform: int = 0
    popularity: int = 0
    history: int = 0
    exclude: Exclude = Exclude.SAME_MOMENT
    unseen: bool = True

    @property
    def total(self) -> int:
        """Number of negatives of all kinds."""
        return self.uniform + self.popularity + self.history


@dataclass(frozen=True, kw_only=True)
class Task:
    """A prediction task: ranks objects of one group.

    Args:
        group: the group whose objects are ranked.
        actions: actions of the group that count as positive; empty means all of them.
        candidates: sampled negatives, or real requests from `impressions/<task>`.
        negatives: number and kinds of sampled negatives.
        ties: rule for behaviors of the same second as the target.
        context: features of a candidate in its request; columns of `impressions/<task>`.
        position: numeric column of the context that says at which place of the list a candidate was shown; "" for none.
        of_request: columns of the context that are the same for all candidates of a request, as a device: a request to
            an exported model has them once.
        affinity: tables by which a candidate is compared with what the user did before, over the whole history: ids or
            side features that both have. `ALL_TABLES` for every table that both have, () for none.
        file: the impressions' file in the logs folder; "" means `impressions/<task>`.
        columns: standard column name ("request_id", "user_id", "id", "timestamp", "label") -> the file's own name.
        timestamp_format: as the one of `Group`.
    """

    group: str
    actions: tuple[str, ...] = ()
    candidates: Candidates = Candidates.SAMPLED
    negatives: Negatives = field(default_factory=Negatives)
    ties: Ties = Ties.STRICT
    context: Features = field(default_factory=Features)
    position: str = ""
    of_request: tuple[str, ...] = ()
    affinity: tuple[str, ...] = ALL_TABLES
    file: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    timestamp_format: str = ""


@dataclass(frozen=True, kw_only=True)
class Time:
    """Buckets of time gaps: [0, 1) [1, 2) [2, 4) ... units, doubling; the last one has no upper end.

    Args:
        unit: a key of `SECONDS`.
        buckets: number of buckets, the last one included.
    """

    unit: str = "day"
    buckets: int = 14

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Lower ends of the buckets 1, 2, ... in seconds."""
        return tuple(SECONDS[self.unit] << power for power in range(self.buckets - 1))


@dataclass(frozen=True, kw_only=True)
class Split:
    """Division of the targets into training, validation and test.

    `leave_last_out`: for each user and task the last target is test, the one before is validation, others are training.
    `by_time`: targets from `test_from` on (Unix seconds) are test, others from `validation_from` on are validation.
    Vocabularies and popularity count what is before `validation_from`; under `leave_last_out` they count everything, as
    the literature does.
    """

    kind: SplitKind = SplitKind.LEAVE_LAST_OUT
    validation_from: int = 0
    test_from: int = 0


@dataclass(frozen=True, kw_only=True)
class Schema:
    """A whole schema file; `atrank_tf.load_schema` reads it.

    Args:
        tables: name -> embedding table.
        entities: name -> kind of thing that users act on.
        groups: name -> behaviors on one entity.
        tasks: name -> what is predicted.
        user: features of the user, columns of `catalog/user`.
        time: buckets of time gaps.
        split: division of the targets.
    """

    tables: Mapping[str, Table]
    entities: Mapping[str, Entity]
    groups: Mapping[str, Group]
    tasks: Mapping[str, Task]
    user: User = field(default_factory=User)
    time: Time = field(default_factory=Time)
    split: Split = field(default_factory=Split)

    @property
    def prepared(self) -> bool:
        """Whether prepare has filled in the sizes, so that a model can be built."""
        return all(table.rows for table in self.tables.values()) and all(e.rows for e in self.entities.values())

    def entity_of(self, task: str) -> str:
        """Returns the entity of a task's candidates."""
        return self.groups[self.tasks[task].group].entity


def select_groups(schema: Schema, groups: Sequence[str], *, affinity: bool = True) -> Schema:
    """Returns a schema of only these groups, in the order of the schema, with their tasks, entities and tables.

    Tasks of other groups are left out, and so are entities and tables that nothing names any more.

    Args:
        schema: a schema.
        groups: names of groups; empty for all.
        affinity: whether tasks keep their affinity; else it is taken out of them.

    Raises:
        ValueError: the schema has no such group.
    """
    for name in groups:
        if name not in schema.groups:
            raise ValueError(f"Unknown group {name!r}. {suggestion(name, schema.groups)}")
    if not affinity:
        schema = replace(schema, tasks={name: replace(task, affinity=()) for name, task in schema.tasks.items()})
    if not groups or set(groups) == set(schema.groups):
        return schema
    kept = {name: group for name, group in schema.groups.items() if name in groups}
    tasks = {name: task for name, task in schema.tasks.items() if task.group in kept}
    acted_on = {group.entity for group in kept.values()}
    entities = {name: entity for name, entity in schema.entities.items() if name in acted_on}
    features = [schema.user, *entities.values(), *(task.context for task in tasks.values())]
    used = {feature.table for each in features for feature in each.features.values()}
    used |= {entity.id.table for entity in entities.values()}
    tables = {name: table for name, table in schema.tables.items() if name in used}
    for name, task in tasks.items():
        if task.affinity != ALL_TABLES:
            tasks[name] = replace(task, affinity=tuple(table for table in task.affinity if table in tables))
    return replace(schema, tables=tables, entities=entities, groups=kept, tasks=tasks)
