"""Chunks: whole timelines of some users as flat tensors, the unit in which records are read.

Histories are never expanded in memory: a target is two indices into a chunk's flat tensors per group, and a window
becomes a padded row only when its batch is made.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from atrank_tf.schema import Candidates, Features, Schema
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS
from atrank_tf.types import Tensor

SPAN = 1 << 33
"""More than any timestamp (seconds, until the year 2100) or entity row: makes (user, value) pairs one int64 key."""


class Behaviors(NamedTuple):
    """Behaviors of one group, of all users of a chunk; V behaviors, U users.

    `id`, `action`, `timestamp`, `user`: int64 [V], ordered by user, then time. `splits`: int64 [U + 1].
    """

    id: Tensor
    action: Tensor
    timestamp: Tensor
    user: Tensor
    splits: Tensor


class Requests(NamedTuple):
    """Impressions of one task, of all users of a chunk; R requests with C candidates in all.

    `timestamp`, `user`: int64 [R]; `starts`, `ends`: int64 [R], where a request's candidates stand in the flat
    `id`, `label` (int64 [C]) and `context` (column -> [C] or [C, width]).
    """

    timestamp: Tensor
    user: Tensor
    starts: Tensor
    ends: Tensor
    id: Tensor
    label: Tensor
    context: Mapping[str, Tensor]


class Chunk(NamedTuple):
    """Timelines of U users. `user_id`: string [U]; `profile`: column -> int64 [U, max_values] or float32 [U]."""

    user_id: Tensor
    profile: Mapping[str, Tensor]
    groups: Mapping[str, Behaviors]
    requests: Mapping[str, Requests]


def parse(serialized: Tensor, schema: Schema) -> Chunk:
    """Parses serialized Examples (string [U]) of a records folder into a chunk."""
    integers, reals = tf.io.RaggedFeature(tf.int64), tf.io.RaggedFeature(tf.float32)
    features: dict[str, Any] = {"user_id": tf.io.FixedLenFeature([], tf.string)}
    for name in schema.groups:
        features |= {f"{name}/{column}": integers for column in BEHAVIOR_COLUMNS}
    for name, _ in impression_tasks(schema):
        features |= {f"{name}/{column}": integers for column in ("timestamp", "row_lengths", "candidates", "label")}
    for prefix, side in _sides(schema):
        features |= {f"{prefix}/{column}": integers for column in side.features}
        features |= {f"{prefix}/{column}": reals for column in side.dense}
    parsed = tf.io.parse_example(serialized, features)
    return Chunk(
        user_id=parsed["user_id"],
        profile=_profile(parsed, schema.user),
        groups={name: _group(parsed, name) for name in schema.groups},
        requests={name: _requests(parsed, name, context) for name, context in impression_tasks(schema)},
    )


def first_at_least(ascending: Tensor, values: Tensor) -> Tensor:
    """Returns the index of the first entry >= each value, int64 [M]; both 1-D, either may be empty."""
    # tf.searchsorted reshapes to [-1, size], which is ambiguous where the size is 0.
    return tf.raw_ops.LowerBound(sorted_inputs=ascending[None], values=values[None], out_type=tf.int64)[0]


def impression_tasks(schema: Schema) -> Iterator[tuple[str, Features]]:
    """Yields the name and the context of each task whose candidates are real impressions."""
    for name, task in schema.tasks.items():
        if task.candidates is Candidates.IMPRESSIONS:
            yield name, task.context


def _sides(schema: Schema) -> list[tuple[str, Features]]:
    return [("user", schema.user), *impression_tasks(schema)]


def _group(parsed: Mapping[str, Tensor], name: str) -> Behaviors:
    ids = parsed[f"{name}/id"]
    return Behaviors(
        id=ids.values,
        action=parsed[f"{name}/action"].values,
        timestamp=parsed[f"{name}/timestamp"].values,
        user=tf.cast(ids.value_rowids(), tf.int64),
        splits=tf.cast(ids.row_splits, tf.int64),
    )


def _requests(parsed: Mapping[str, Tensor], name: str, context: Features) -> Requests:
    timestamp = parsed[f"{name}/timestamp"]
    lengths = parsed[f"{name}/row_lengths"].values
    ends = tf.cumsum(lengths)
    columns = {column: parsed[f"{name}/{column}"].values for column in (*context.features, *context.dense)}
    for column, feature in context.features.items():
        if feature.max_values > 1:
            columns[column] = tf.reshape(columns[column], [-1, feature.max_values])
    return Requests(
        timestamp=timestamp.values,
        user=tf.cast(timestamp.value_rowids(), tf.int64),
        starts=ends - lengths,
        ends=ends,
        id=parsed[f"{name}/candidates"].values,
        label=parsed[f"{name}/label"].values,
        context=columns,
    )


def _profile(parsed: Mapping[str, Tensor], user: Features) -> dict[str, Tensor]:
    profile = {
        column: parsed[f"user/{column}"].to_tensor(shape=[None, feature.max_values])
        for column, feature in user.features.items()
    }
    return profile | {column: parsed[f"user/{column}"].to_tensor(shape=[None, 1])[:, 0] for column in user.dense}
