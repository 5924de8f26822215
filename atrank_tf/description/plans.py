"""What the schema says of logs, before it is written: entities, groups, tasks, tables, time and split, with reasons."""

import datetime
from dataclasses import dataclass, field

import polars as pl

from atrank_tf.description.behaviors import DAY, Cut
from atrank_tf.description.columns import Column
from atrank_tf.description.events import Events
from atrank_tf.description.roles import Objects, Roles
from atrank_tf.description.sides import Side, Tables


@dataclass(eq=False)
class EntityPlan:
    """What the schema says of an entity; `file` is its catalog ("" for none), `table` that of its ids ("" for none)."""

    name: str
    id_column: str
    objects: Objects | None
    file: str
    table: str = ""
    table_note: str = ""
    values: int = 0
    sides: list[Side] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    title: str = ""


@dataclass(eq=False)
class GroupPlan:
    """What the schema says of a group."""

    name: str
    entity: EntityPlan
    file: str
    columns: dict[str, str]
    timestamp_format: str
    actions: list[str]
    frame: pl.DataFrame
    notes: list[str]
    questions: list[str]
    max_length: int = 0


@dataclass(eq=False)
class TaskPlan:
    """What the schema says of a task; `kind` is "impressions", "repeats", "funnel" or "once"."""

    name: str
    group: GroupPlan
    actions: list[str]
    kind: str
    positives: pl.DataFrame
    notes: list[str]
    questions: list[str] = field(default_factory=list)
    negatives: str = ""
    ordered: bool = False
    shown: Events | None = None
    shown_frame: pl.DataFrame | None = None
    one_positive: float = 0.0
    sides: list[Side] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    position: str = ""
    of_request: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Plan:
    """Everything that the schema says."""

    roles: Roles
    entities: list[EntityPlan]
    groups: list[GroupPlan]
    tasks: list[TaskPlan]
    tables: Tables
    user: Objects | None
    user_sides: list[Side]
    user_left_out: list[str]
    unit: str
    buckets: int
    time_note: str
    cut: Cut | None
    split_note: str
    split_question: str
    min_counts: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def behaviors(self) -> int:
        """Number of rows of all groups."""
        return sum(len(group.frame) for group in self.groups)

    @property
    def behaviors_per_object(self) -> float:
        """Mean number of behaviors of an object, of the kind that users did most with of those that tasks predict."""
        most = max((task.group for task in self.tasks), key=lambda group: len(group.frame)).entity
        ids = pl.concat([group.frame["id"] for group in self.groups if group.entity is most])
        return len(ids) / ids.n_unique()


def columns_of(event: Events, entity: EntityPlan, more: dict[str, Column | None]) -> dict[str, str]:
    """Returns `columns` of a group or task: standard name -> the file's own name, where they differ."""
    own = {"user_id": event.user.name, "timestamp": event.time.name, "id": event.object.name}
    own |= {name: column.name for name, column in more.items() if column is not None}
    standard = {"id": entity.id_column}
    return {name: column for name, column in own.items() if column != standard.get(name, name)}


def day(second: int) -> str:
    """Returns Unix seconds as TOML writes dates and times."""
    time = datetime.datetime.fromtimestamp(second, datetime.UTC)
    return time.strftime("%Y-%m-%d") if second % DAY == 0 else time.strftime("%Y-%m-%dT%H:%M:%SZ")
