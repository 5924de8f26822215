"""The declaration: which things users act on, how, and what is to be predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PADDING = 0
"""Row of every table and vocabulary that means "nothing here"."""
UNKNOWN = 1
"""Row of every table and vocabulary that stands for each value that was never, or too seldom, seen."""
FIRST_ROW = 2
"""Row of the first real value in every table and vocabulary."""

SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
"""Time units that `[time] unit` may name, in seconds."""


class Candidates(StrEnum):
    """Where the candidates of a task's training and evaluation requests come from."""

    SAMPLED = "sampled"
    IMPRESSIONS = "impressions"


class Ties(StrEnum):
    """What a history may hold of the target's own moment.

    `strict`: nothing. `ordered`: what stands before the target in the log, within the target's own group;
    of other groups nothing, since a log fixes no order between groups.
    """

    STRICT = "strict"
    ORDERED = "ordered"


class SplitKind(StrEnum):
    """How targets are divided into training, validation and test."""

    LEAVE_LAST_OUT = "leave_last_out"
    BY_TIME = "by_time"


@dataclass(frozen=True, kw_only=True)
class Table:
    """An embedding table; features share it by naming it.

    Args:
        dim: width of an embedding.
        min_count: values seen less often share the row `UNKNOWN`.
        rows: rows of the table, `PADDING` and `UNKNOWN` included. Filled in by prepare; 0 before.
    """

    dim: int
    min_count: int = 1
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class IdFeature:
    """A categorical column, looked up in a table.

    Args:
        table: name of the table.
        max_values: most values that one object can have; 1 for a single-valued column. More are cut.
        separator: what stands between the values of a text column when `max_values` > 1.
    """

    table: str
    max_values: int = 1
    separator: str = " "


@dataclass(frozen=True, kw_only=True)
class DenseFeature:
    """A numeric column. It is standardized with the moments that prepare measured; a missing value becomes 0.

    Args:
        mean: mean of the column. Filled in by prepare.
        variance: variance of the column. Filled in by prepare.
    """

    mean: float = 0.0
    variance: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Features:
    """Side features of an entity, of the user, or of a candidate in its request (its context).

    Args:
        features: column -> categorical feature.
        dense: column -> numeric feature.
    """

    features: Mapping[str, IdFeature] = field(default_factory=dict)
    dense: Mapping[str, DenseFeature] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EntityId:
    """The id of an entity.

    Args:
        column: its column in the behaviors, catalog and impressions files.
        table: table of the id's own embedding.
        dtype: "string" or "int64", as in the logs. Filled in by prepare; "" before.
    """

    column: str
    table: str
    dtype: str = ""


@dataclass(frozen=True, kw_only=True)
class Entity(Features):
    """A kind of thing that users act on; its side features are columns of `catalog/<entity>`.

    Args:
        id: its id.
        rows: rows of its catalog, `PADDING` and `UNKNOWN` included. Filled in by prepare; 0 before.
    """

    id: EntityId
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Group:
    """The behaviors whose object is one entity kind; read from `behaviors/<group>`.

    Args:
        entity: name of the entity.
        actions: every action that a behavior of this group can be.
        max_length: the newest behaviors that a history keeps.
        width: encoding width D_g of the group; 0 means the width that its object code has.
        columns: standard column name ("user_id", "action", "timestamp") -> the file's own name.
    """

    entity: str
    actions: tuple[str, ...]
    max_length: int = 100
    width: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Negatives:
    """How many sampled negatives stand beside a positive; an experiment may have other numbers for its training.

    Args:
        uniform: drawn evenly from the objects that `Split` counts (any action, any group of the entity).
        popularity: drawn in proportion to those counts.
    """

    uniform: int = 0
    popularity: int = 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is predicted.

    Args:
        group: the group whose objects are ranked.
        actions: actions of the group that count as positive; empty means all of them.
        candidates: sampled negatives, or real requests from `impressions/<task>`.
        negatives: for sampled candidates, how many and how.
        ties: what a history may hold of the target's own moment.
        context: features of a candidate in its request; columns of `impressions/<task>`.
        columns: standard column name ("request_id", "user_id", "timestamp", "label") -> the file's own name.
    """

    group: str
    actions: tuple[str, ...] = ()
    candidates: Candidates = Candidates.SAMPLED
    negatives: Negatives = field(default_factory=Negatives)
    ties: Ties = Ties.STRICT
    context: Features = field(default_factory=Features)
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Time:
    """How time gaps are bucketed: [0, 1) [1, 2) [2, 4) ... units, doubling, the last bucket open.

    Args:
        unit: a key of `SECONDS`.
        buckets: number of buckets, the open one included.
    """

    unit: str = "day"
    buckets: int = 14

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Lower ends of the buckets 1, 2, ... in seconds."""
        return tuple(SECONDS[self.unit] << power for power in range(self.buckets - 1))


@dataclass(frozen=True, kw_only=True)
class Split:
    """How targets are divided.

    `leave_last_out`: of each user's targets of a task the last is for test, the one before for validation.
    `by_time`: by the target's moment, validation from `validation_from` on, test from `test_from` on (Unix seconds).
    Vocabularies and popularity count only what lies before `validation_from`; under `leave_last_out` they count
    everything, as the literature does.
    """

    kind: SplitKind = SplitKind.LEAVE_LAST_OUT
    validation_from: int = 0
    test_from: int = 0


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Everything that is declared about the logs. Read it with `atrank_tf.load_schema`.

    `user` holds what is known of a user beside the behaviors: columns of `catalog/user`.
    """

    tables: Mapping[str, Table]
    entities: Mapping[str, Entity]
    groups: Mapping[str, Group]
    tasks: Mapping[str, Task]
    user: Features = field(default_factory=Features)
    time: Time = field(default_factory=Time)
    split: Split = field(default_factory=Split)

    @property
    def prepared(self) -> bool:
        """Whether prepare has filled in the sizes, so that a model can be built."""
        return all(table.rows for table in self.tables.values()) and all(e.rows for e in self.entities.values())
