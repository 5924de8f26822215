"""Affinity features of a task: which counts of a user's behaviors on things like a candidate there are."""

from collections.abc import Iterator
from typing import NamedTuple

from atrank_tf.schema.spec import ALL_TABLES, SECONDS, Entity, Schema

SAME_OBJECT = "same object"
"""In place of a table: behaviors on the candidate itself."""
ANY_OBJECT = "any object"
"""In place of a table: all behaviors of a group, whatever the candidate."""
_STEP = 2
"""A ladder has every so manyth boundary of the time buckets: each age is four times the one before."""


class Channel(NamedTuple):
    """Behaviors of a group that are like a candidate, and how they are.

    Args:
        group: name of the group.
        table: name of the table of which both have a value; or `SAME_OBJECT`, or `ANY_OBJECT`.
    """

    group: str
    table: str


class AffinityFeature(NamedTuple):
    """One number that is known of a candidate.

    Args:
        channel: which behaviors it is of.
        action: their action; "" for the feature that says how long ago the last of any action was.
        age: they are at most so many seconds old; 0 for any age.
    """

    channel: Channel
    action: str
    age: int

    def __str__(self) -> str:
        """Returns its name, by which a warm start finds the same number in an earlier model."""
        what = f"{self.action}, at most {self.age} s ago" if self.age else f"{self.action}, ever"
        return f"{self.channel.group} of {self.channel.table}: {what if self.action else 'how recently'}"


def affinity_channels(schema: Schema, task: str) -> list[Channel]:
    """Returns the channels of a task: for each group each table that candidates and behaviors share, by name."""
    spec = schema.tasks[task]
    if not spec.affinity:
        return []
    candidates = schema.groups[spec.group].entity
    return [
        Channel(name, table)
        for name, group in sorted(schema.groups.items())
        for table in (ANY_OBJECT, *_shared(schema, candidates, group.entity, spec.affinity))
    ]


def affinity_tables(schema: Schema, task: str) -> list[str]:
    """Returns the tables that a task's `affinity` may name: those that candidates and behaviors share."""
    candidates = schema.entity_of(task)
    behaviors = {group.entity for group in schema.groups.values()}
    return [t for t in sorted(schema.tables) if any(any(_shared(schema, candidates, e, (t,))) for e in behaviors)]


def affinity_ages(schema: Schema) -> tuple[int, ...]:
    """Returns the ages of the ladder, in seconds; behaviors of any age come after the last."""
    return schema.time.boundaries[::_STEP]


def longest_age(schema: Schema) -> int:
    """Returns the age in seconds from which on "how long ago the last was" is 0: twice the last boundary."""
    return 2 * max((*schema.time.boundaries, SECONDS[schema.time.unit]))


def affinity_features(schema: Schema, task: str) -> list[AffinityFeature]:
    """Returns the features of a task, in the order of the input `<task>__affinity`."""
    return [feature for channel in affinity_channels(schema, task) for feature in _features(schema, channel)]


def columns_of_table(entity: Entity, table: str) -> list[str]:
    """Returns the columns of an entity, its id among them, whose values are rows of a table."""
    own = [entity.id.column] if entity.id.table == table else []
    return own + [column for column, feature in entity.features.items() if feature.table == table]


def _features(schema: Schema, channel: Channel) -> Iterator[AffinityFeature]:
    for age in (*affinity_ages(schema), 0):
        for action in schema.groups[channel.group].actions:
            yield AffinityFeature(channel, action, age)
    yield AffinityFeature(channel, "", 0)


def _shared(schema: Schema, candidates: str, behaviors: str, asked: tuple[str, ...]) -> Iterator[str]:
    """Yields the tables that objects of two entities both have values of, of those asked for."""
    one, other = schema.entities[candidates], schema.entities[behaviors]
    if candidates == behaviors and not one.id.table:
        yield SAME_OBJECT
    for table in sorted(schema.tables):
        if asked != ALL_TABLES and table not in asked:
            continue
        columns = columns_of_table(one, table), columns_of_table(other, table)
        if candidates == behaviors and table == one.id.table:
            yield SAME_OBJECT  # Rare objects, which share a row of the table, are told apart, too.
            if columns[0] == [one.id.column]:
                continue
        if all(columns):
            yield table
