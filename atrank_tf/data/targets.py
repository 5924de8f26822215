"""Chunks, the flat tensors of whole timelines, and the targets in them.

A chunk is the unit in which records are read. Histories are never expanded in memory: a target is two indices into a
chunk's flat tensors per group, and a window becomes a padded row only when its batch is made.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import tensorflow as tf

from atrank_tf.schema import FIRST_ROW, Candidates, Features, Schema, Split, SplitKind, Ties
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


def parse_group(serialized: Tensor, name: str) -> Behaviors:
    """Parses the behaviors of one group alone, of serialized Examples: string [U]."""
    integers = tf.io.RaggedFeature(tf.int64)
    return _group(tf.io.parse_example(serialized, {f"{name}/{column}": integers for column in BEHAVIOR_COLUMNS}), name)


def first_at_least(ascending: Tensor, values: Tensor) -> Tensor:
    """Returns the index of the first entry >= each value, int64 [M]; both 1-D, either may be empty."""
    # tf.searchsorted reshapes to [-1, size], which is ambiguous where the size is 0.
    # Not `[None]` and `[0]`, each of which is four operations of a graph that has dozens of these.
    ascending, values = tf.expand_dims(ascending, 0), tf.expand_dims(values, 0)
    return tf.squeeze(tf.raw_ops.LowerBound(sorted_inputs=ascending, values=values, out_type=tf.int64), 0)


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
        user=_user_of_values(ids),
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
        user=_user_of_values(timestamp),
        starts=ends - lengths,
        ends=ends,
        id=parsed[f"{name}/candidates"].values,
        label=parsed[f"{name}/label"].values,
        context=columns,
    )


def _user_of_values(ragged: Tensor) -> Tensor:
    """Returns the user (row) of each value, int64 [V]: `value_rowids`, in a tenth of its ops."""
    count = tf.size(ragged.values, tf.int64)
    return first_at_least(tf.cast(ragged.row_splits[1:], tf.int64), tf.range(1, count + 1))


def _profile(parsed: Mapping[str, Tensor], user: Features) -> dict[str, Tensor]:
    profile = {
        column: parsed[f"user/{column}"].to_tensor(shape=[None, feature.max_values])
        for column, feature in user.features.items()
    }
    return profile | {column: parsed[f"user/{column}"].to_tensor(shape=[None, 1])[:, 0] for column in user.dense}


class Part(StrEnum):
    """A part of the data by the schema's split; training and validation may be one, for a last training.

    `ALL` is every target, for what is counted of the past at each moment: see `popularity`.
    """

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"
    TRAINING_AND_VALIDATION = "training_and_validation"
    ALL = "all"

    @property
    def trains(self) -> bool:
        """Whether a model may learn from it."""
        return self in (Part.TRAINING, Part.TRAINING_AND_VALIDATION)


class Targets(NamedTuple):
    """M targets of one task in a chunk.

    `index`: int64 [M], the positive behavior in its group's flat tensors, or the request. `user`, `request_time`: int64
    [M]. `starts`, `ends`: group -> int64 [M], the history window in the group's flat tensors.
    """

    index: Tensor
    user: Tensor
    request_time: Tensor
    starts: Mapping[str, Tensor]
    ends: Mapping[str, Tensor]

    def take(self, chosen: Tensor) -> "Targets":
        """Returns the targets at the indices `chosen`, int [K]."""
        return tf.nest.map_structure(lambda tensor: tf.gather(tensor, chosen), self)


CandidateFunction = Callable[[Targets, Tensor], Tensor]
"""Function (M targets of a chunk, candidates int64 [M, N]) -> numbers of candidates, float32 [M, N] or [M, N, F]."""


def find_targets(chunk: Chunk, schema: Schema, task_name: str, part: Part) -> Targets:
    """Returns every target of a task in one part of the data, with its history windows.

    A window ends before the request time: nothing of that second or later is in it. Under `ties = "ordered"` the
    window of the target's own group ends before the target's position in the log instead.
    """
    task = schema.tasks[task_name]
    if task.candidates is Candidates.IMPRESSIONS:
        requests = chunk.requests[task_name]
        index = tf.range(tf.size(requests.user, tf.int64), dtype=tf.int64)
        user, request_time = requests.user, requests.timestamp
    else:
        group = chunk.groups[task.group]
        index = tf.where(positive_behaviors(chunk, schema, task_name))[:, 0]
        user, request_time = tf.gather(group.user, index), tf.gather(group.timestamp, index)
    inside = tf.where(_inside(user, request_time, schema.split, part))[:, 0]
    index, user, request_time = (tf.gather(tensor, inside) for tensor in (index, user, request_time))
    starts, ends = {}, {}
    for name, spec in schema.groups.items():
        rows = chunk.groups[name]
        if task.ties is Ties.ORDERED and name == task.group:
            ends[name] = index
        else:
            ends[name] = first_at_least(rows.user * SPAN + rows.timestamp, user * SPAN + request_time)
        starts[name] = tf.maximum(tf.gather(rows.splits, user), ends[name] - spec.max_length)
    return Targets(index, user, request_time, starts, ends)


def candidates_of(targets: Targets, requests: Requests) -> tuple[Tensor, Tensor]:
    """Returns the indices of all candidates of the targets in the flat candidates, and whose they are: int64 [C]."""
    starts, ends = tf.gather(requests.starts, targets.index), tf.gather(requests.ends, targets.index)
    indices = tf.ragged.range(starts, ends)
    return indices.values, indices.value_rowids()


def positive_behaviors(chunk: Chunk, schema: Schema, task_name: str) -> Tensor:
    """Returns which behaviors of a task's group are positives of the task, bool [V]."""
    task = schema.tasks[task_name]
    actions = schema.groups[task.group].actions
    rows = [FIRST_ROW + actions.index(action) for action in task.actions or actions]
    return tf.reduce_any(chunk.groups[task.group].action[:, tf.newaxis] == tf.constant(rows, tf.int64), axis=1)


def history_lengths(targets: Targets) -> Tensor:
    """Returns the number of behaviors in each target's history, over all groups, int64 [M]."""
    return tf.add_n([targets.ends[name] - targets.starts[name] for name in targets.ends])


def index_in_user(user: Tensor) -> Tensor:
    """Returns 0, 1, 2, ... within each run of equal values of `user`, int64 [M]."""
    begins = tf.concat([tf.ones([1], tf.bool), user[1:] != user[:-1]], axis=0)[: tf.size(user)]
    run = tf.cumsum(tf.cast(begins, tf.int64)) - 1
    return tf.range(tf.size(user, tf.int64), dtype=tf.int64) - tf.gather(tf.where(begins)[:, 0], run)


def choose_per_user(targets: Targets, most: int, seed: Tensor) -> Targets:
    """Returns at most `most` targets of each user, drawn evenly; all of them if `most` is 0.

    `seed`: int64 [2]. The order of the targets is kept.
    """
    if not most:
        return targets
    draw = tf.random.stateless_uniform([tf.size(targets.user)], seed, dtype=tf.float64)
    order = tf.argsort(tf.cast(targets.user, tf.float64) + draw)
    chosen = tf.where(index_in_user(tf.gather(targets.user, order)) < most)[:, 0]
    return targets.take(tf.sort(tf.gather(order, chosen)))


def choose_run(targets: Targets, most: int, draw: Tensor) -> Targets:
    """As `choose_per_user`, but the targets kept of a user are neighbors in time.

    `draw`: float64 [users of the chunk], evenly in 0..1; where in a user's targets the run begins.
    """
    if not most:
        return targets
    index = index_in_user(targets.user)
    from_the_end = tf.reverse(index_in_user(tf.reverse(targets.user, [0])), [0])
    count = index + from_the_end + 1
    begins = tf.where(index == 0)[:, 0]
    spare = tf.maximum(tf.gather(count, begins) - most, 0) + 1  # How many runs there are to choose from.
    draw = tf.gather(draw, tf.gather(targets.user, begins))
    start = tf.cast(draw * tf.cast(spare, tf.float64), tf.int64)
    start = tf.repeat(start, tf.gather(count, begins))
    return targets.take(tf.where((index >= start) & (index < start + most))[:, 0])


def counted_until(split: Split, part: Part) -> int:
    """Returns the time, Unix seconds, from which on a training on a part counts nothing, under a split by time."""
    return split.validation_from if part is Part.TRAINING else split.test_from


def _inside(user: Tensor, request_time: Tensor, split: Split, part: Part) -> Tensor:
    if part is Part.ALL:
        return tf.ones_like(user, tf.bool)
    if split.kind is SplitKind.BY_TIME:
        validation, test = request_time >= split.validation_from, request_time >= split.test_from
        return {
            Part.TRAINING: ~validation,
            Part.VALIDATION: validation & ~test,
            Part.TEST: test,
            Part.TRAINING_AND_VALIDATION: ~test,
        }[part]
    from_the_end = tf.reverse(index_in_user(tf.reverse(user, [0])), [0])
    return {
        Part.TRAINING: from_the_end >= 2,
        Part.VALIDATION: from_the_end == 1,
        Part.TEST: from_the_end == 0,
        Part.TRAINING_AND_VALIDATION: from_the_end >= 1,
    }[part]
