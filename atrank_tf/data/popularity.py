"""Counts how often each object was chosen, or had another action, period by period."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, read_chunks, sum_over_chunks, without_autograph
from atrank_tf.data.records import Records
from atrank_tf.data.targets import (
    SPAN,
    Behaviors,
    Chunk,
    Part,
    candidates_of,
    find_targets,
    first_at_least,
    parse,
)
from atrank_tf.schema import FIRST_ROW, PADDING, Candidates, Schema, SplitKind
from atrank_tf.types import Tensor

PERIODS = 128
"""Periods that are told apart, a power of 2: part of the weights' shapes, so models saved with another number do not
load. As much of what is counted is in each, as far as seconds can tell: so they are short where
much happens, and the popularity of a log of an hour and of one of ten years is about as fine."""
_HOUR = 3600


class Popularity(NamedTuple):
    """Counts of each object in each of `PERIODS` periods.

    `begins`: int64 [PERIODS], Unix seconds, ascending: when period 1, 2, ... begins; the last is when all is over.
    `counts`: int [rows of the entity's catalog, PERIODS], or of the table of a feature's values.
    """

    begins: np.ndarray
    counts: np.ndarray


Events = Callable[[Chunk, Schema, Part], tuple[Tensor, Tensor]]
"""What is counted in a chunk, of the targets of a part: objects and Unix seconds, int64 [M] each."""


def popularity(
    records: Records,
    counted: Sequence[tuple[str, Events]],
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> list[Popularity]:
    """Returns how often each object was chosen, was shown, or had an action, in two or three passes over the records.

    Under a split by time the targets of all parts count, as a server's counts go on after a training: those who read
    them see only the periods before a request. Under `leave_last_out` those of `part` do, as in the literature.

    Args:
        records: a records folder.
        counted: what is counted: an entity, and what happens to its objects (`chosen`, `shown` or `done` of something).
        part: of the targets that count, where not all do.
        total: sums an array over the workers who share the records.
    """
    schema = records.schema
    of_targets = counted_part(schema, part)

    def of_chunk(_: Tensor, serialized: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        chunk = parse(serialized, schema)
        return tuple(events(chunk, schema, of_targets) for _, events in counted)

    chunks = read_chunks(records, part, tf.constant([EVALUATION_SEED, 0], tf.int64))
    chunks = chunks.map(without_autograph(of_chunk), num_parallel_calls=tf.data.AUTOTUNE)
    hours = np.zeros((len(counted), SPAN // _HOUR), np.int64)
    for happened in chunks.as_numpy_iterator():
        for each, (_, timestamps) in zip(hours, happened, strict=True):
            np.add.at(each, timestamps // _HOUR, 1)
    hours = total(hours)
    crowded = hours * PERIODS > hours.sum(axis=1, keepdims=True)
    row = np.cumsum(crowded).reshape(crowded.shape) - 1  # Of a crowded hour among the `seconds`.
    seconds = np.zeros((np.count_nonzero(crowded), _HOUR), np.int64)
    for happened in chunks.as_numpy_iterator() if len(seconds) else ():
        for inside, rows, (_, timestamps) in zip(crowded, row, happened, strict=True):
            of_crowded = timestamps[inside[timestamps // _HOUR]]
            np.add.at(seconds, (rows[of_crowded // _HOUR], of_crowded % _HOUR), 1)
    seconds = total(seconds) if len(seconds) else seconds
    begins = [
        _begins(of_hours, np.flatnonzero(inside), seconds[rows[inside]])
        for of_hours, inside, rows in zip(hours, crowded, row, strict=True)
    ]
    counts = [np.zeros(schema.entities[entity].rows * PERIODS, np.int32) for entity, _ in counted]
    for happened in chunks.as_numpy_iterator():
        for flat, starts, (ids, timestamps) in zip(counts, begins, happened, strict=True):
            np.add.at(flat, ids * PERIODS + np.searchsorted(starts, timestamps, side="right"), 1)
    return [Popularity(starts, total(flat.reshape(-1, PERIODS))) for starts, flat in zip(begins, counts, strict=True)]


def counted_part(schema: Schema, part: Part) -> Part:
    """Returns the part whose targets count for those of a part: see `popularity`."""
    return Part.ALL if schema.split.kind is SplitKind.BY_TIME else part


def _begins(hours: np.ndarray, crowded: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Returns when periods begin that have about as much each: int64 [PERIODS].

    Args:
        hours: how much happened in each hour.
        crowded: the H hours that hold more than a period should.
        seconds: how much happened in each of their seconds, [H, 3600].
    """
    reached = np.cumsum(hours)
    shares = reached[-1] * np.arange(1, PERIODS + 1) / PERIODS
    hour = np.searchsorted(reached, shares)
    begins = (hour + 1) * _HOUR
    for each, of_seconds in zip(crowded, seconds, strict=True):
        inside = hour == each
        before = reached[each] - hours[each]
        begins[inside] = each * _HOUR + np.searchsorted(before + np.cumsum(of_seconds), shares[inside]) + 1
    return begins


def popularity_of_values(of_objects: Popularity, values: np.ndarray, rows: int) -> Popularity:
    """Returns how often objects with each value of a feature were counted.

    Args:
        of_objects: the counts of the objects.
        values: the rows of each object's values in the feature's table, int [objects, V]; 0 is none.
        rows: of the table.
    """
    counts = np.zeros((rows, of_objects.counts.shape[1]), np.int64)
    for column in values.T:
        order = np.argsort(column, kind="stable")
        found, starts = np.unique(column[order], return_index=True)
        counts[found] += np.add.reduceat(of_objects.counts[order], starts, dtype=np.int64)
    counts[PADDING] = 0
    return Popularity(of_objects.begins, counts)


def counted_actions(schema: Schema, task: str) -> list[tuple[str, str]]:
    """Returns the other actions on a task's entity, whose popularity is counted beside that of the task's positives.

    They are all (group, action) on the entity of the candidates but those that make a positive: among views and
    purchases, for the next purchase, those of views.
    """
    spec = schema.tasks[task]
    own = schema.groups[spec.group]
    positive = [(spec.group, action) for action in spec.actions or own.actions]
    groups = {name: group for name, group in schema.groups.items() if group.entity == own.entity}
    every = [(name, action) for name, group in groups.items() for action in group.actions]
    return [each for each in every if each not in positive]


def positive_counts(records: Records, task: str, part: Part = Part.TRAINING) -> np.ndarray:
    """Returns how often each object was a positive of a task's training targets, int64 [rows of the entity's catalog].

    Unlike `Catalog.counts` it holds nothing of validation or test, whatever the split.
    """
    schema = records.schema
    rows = schema.entities[schema.entity_of(task)].rows

    def count(_: Tensor, serialized: Tensor, drawn: Tensor) -> Tensor:
        del drawn
        ids, _ = chosen(parse(serialized, schema), schema, part, task=task)
        counts = tf.math.bincount(tf.cast(ids, tf.int32), minlength=rows, maxlength=rows, dtype=tf.int64)
        return tf.ensure_shape(counts, [rows])

    return sum_over_chunks(records, part, EVALUATION_SEED, count)


def chosen(chunk: Chunk, schema: Schema, part: Part, *, task: str) -> tuple[Tensor, Tensor]:
    """Returns what was chosen in the targets of a task, and when: objects and Unix seconds, int64 [M] each.

    What was chosen of a list is known from when the user did something with it: the first behavior of the task's group
    on it, since the request. Where no behavior tells, it counts from the request on.
    """
    targets = find_targets(chunk, schema, task, part)
    spec = schema.tasks[task]
    behaviors = chunk.groups[spec.group]
    if spec.candidates is Candidates.SAMPLED:
        return tf.gather(behaviors.id, targets.index), targets.request_time
    indices, owners = candidates_of(targets, chunk.requests[task])
    positive = tf.gather(chunk.requests[task].label, indices) > 0
    indices, owners = tf.boolean_mask(indices, positive), tf.boolean_mask(owners, positive)
    ids = tf.gather(chunk.requests[task].id, indices)
    user, request_time = tf.gather(targets.user, owners), tf.gather(targets.request_time, owners)
    return ids, _first_done(behaviors, user, ids, request_time)


def shown(chunk: Chunk, schema: Schema, part: Part, *, task: str) -> tuple[Tensor, Tensor]:
    """Returns all candidates of a task with impressions, and when they were shown: int64 [M] each."""
    targets = find_targets(chunk, schema, task, part)
    indices, owners = candidates_of(targets, chunk.requests[task])
    return tf.gather(chunk.requests[task].id, indices), tf.gather(targets.request_time, owners)


def done(chunk: Chunk, schema: Schema, part: Part, *, group: str, action: str) -> tuple[Tensor, Tensor]:
    """Returns the objects of all behaviors of a group with an action, whatever the part, and when: int64 [M] each."""
    behaviors = chunk.groups[group]
    counted = behaviors.action == FIRST_ROW + schema.groups[group].actions.index(action)
    return tf.boolean_mask(behaviors.id, counted), tf.boolean_mask(behaviors.timestamp, counted)


def _first_done(behaviors: Behaviors, user: Tensor, ids: Tensor, since: Tensor) -> Tensor:
    """Returns when each user first did something with an object since a moment, else that moment: int64 [M]."""
    pairs, wanted = behaviors.user * SPAN + behaviors.id, user * SPAN + ids
    by_pair = tf.argsort(pairs, stable=True)  # Those of a pair stay in the order of time.
    pairs, times = tf.gather(pairs, by_pair), tf.gather(behaviors.timestamp, by_pair)
    place = first_at_least(first_at_least(pairs, pairs) * SPAN + times, first_at_least(pairs, wanted) * SPAN + since)
    # One more, for those who did nothing with anything later on.
    pairs, times = tf.pad(pairs, [[0, 1]], constant_values=-1), tf.pad(times, [[0, 1]])
    return tf.where(tf.gather(pairs, place) == wanted, tf.gather(times, place), since)
