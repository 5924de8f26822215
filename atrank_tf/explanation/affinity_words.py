"""Affinity in words: what the user did before with things like a candidate, the most telling first."""

import math

import numpy as np

from atrank_tf.schema import SECONDS, Schema
from atrank_tf.schema.affinity import (
    ANY_OBJECT,
    SAME_OBJECT,
    Channel,
    affinity_features,
    columns_of_table,
    longest_age,
)

_MOST = 4


def affinity_words(affinity: np.ndarray, schema: Schema, task: str) -> tuple[str, ...]:
    """Returns what the affinity of a candidate says, as "purchase: this product 14 times (3 in the last 16 days)".

    At most four texts, each of a group and of a table of which candidate and behaviors share a value: first behaviors
    on the candidate itself, then on what is linked to it, then those of the tables with the most rows, of which fewest
    objects share a value; last all behaviors. Times are summed over actions, and over values where several are shared.
    In brackets is the shortest age of the ladder in which there was more than one.

    Args:
        affinity: float [F], as the input `<task>__affinity` has it.
        schema: the model's schema.
        task: the task.
    """
    times: dict[Channel, dict[int, int]] = {}
    recency: dict[Channel, float] = {}
    for feature, value in zip(affinity_features(schema, task), affinity, strict=True):
        if feature.action:
            of_channel = times.setdefault(feature.channel, {})
            of_channel[feature.age] = of_channel.get(feature.age, 0) + round(math.expm1(value))
        else:
            recency[feature.channel] = float(value)
    done = [channel for channel in times if times[channel][0]]
    done.sort(key=lambda channel: _order(channel, schema))
    return tuple(
        f"{channel.group}: {_like(channel, schema, task)} {_times(times[channel], schema)}"
        f"{_last(recency[channel], schema)}"
        for channel in done[:_MOST]
    )


def _order(channel: Channel, schema: Schema) -> tuple[bool, bool, bool, int]:
    """Returns a key by which the most telling channel is first."""
    rows = schema.tables[channel.table].rows if channel.table in schema.tables else 0
    return channel.table == ANY_OBJECT, channel.table != SAME_OBJECT, not _links(channel, schema), -rows


def _links(channel: Channel, schema: Schema) -> bool:
    """Returns whether a channel is of a table that says what belongs together."""
    return channel.table in schema.tables and not schema.tables[channel.table].dim


def _like(channel: Channel, schema: Schema, task: str) -> str:
    """Returns how the objects of a channel are like the candidate: "this product", "its type", "anything"."""
    if channel.table == ANY_OBJECT:
        return "anything"
    if _links(channel, schema):
        return "what belongs to it"
    name = schema.entity_of(task)
    entity = schema.entities[name]
    own = channel.table == SAME_OBJECT or columns_of_table(entity, channel.table) == [entity.id.column]
    return f"this {name}" if own else f"its {channel.table}"


def _times(times: dict[int, int], schema: Schema) -> str:
    """Returns how often: "once", "2 times in the last 4 days" or "14 times (3 in the last 16 days)"."""
    total = times[0]
    if total == 1:
        return "once"
    recent = next((age for age, count in times.items() if age and count > 1), None)
    if recent is None:
        return f"{total} times"
    span = f"in the last {_span(recent, schema).removeprefix('1 ')}"
    return f"{total} times {span}" if times[recent] == total else f"{total} times ({times[recent]} {span})"


def _last(recency: float, schema: Schema) -> str:
    """Returns how long ago the last was, ", last 2 days ago"; "" where it is too long ago to be known."""
    if recency <= 0:
        return ""
    unit = SECONDS[schema.time.unit]
    age = unit * ((1 + longest_age(schema) / unit) / math.exp(recency) - 1)
    return f", last {_span(age, schema)} ago" if age >= unit / 2 else f", last less than 1 {schema.time.unit} ago"


def _span(seconds: float, schema: Schema) -> str:
    units = round(seconds / SECONDS[schema.time.unit])
    return f"{units} {schema.time.unit}{'' if units == 1 else 's'}"
