"""Counts how often each object was chosen, or had another action, period by period."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, read_chunks, sum_over_chunks, without_autograph
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Behaviors, Chunk, Part, Requests, Targets, find_targets, first_at_least, parse
from atrank_tf.schema import FIRST_ROW, PADDING, Candidates, Schema, SplitKind
from atrank_tf.types import Tensor

PERIODS = 128
"""Periods that are told apart. As much of what is counted is in each, as far as hours can tell: so they are short where
much happens, and the popularity of a log of a week and of one of ten years is about as fine."""
_HOUR = 3600


class Popularity(NamedTuple):
    """Counts of each object in each of `PERIODS` periods.

    `begins`: int64 [PERIODS], Unix seconds, ascending: when period 1, 2, ... begins; the last is when all is over.
    `counts`: int [rows of the entity's catalog, PERIODS], or of the table of a feature's values.
    """

    begins: np.ndarray
    counts: np.ndarray


def popularity(
    records: Records,
    task: str,
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> Popularity:
    """Returns how often each object was a positive of a task's targets, in two passes over the records.

    Under a split by time the targets of all parts count, as a server's counts go on after a training: those who read
    them see only the periods before a request. Under `leave_last_out` those of `part` do, as in the literature.

    Args:
        records: a records folder.
        task: whose positives count.
        part: of the targets that count, where not all do.
        total: sums an array over the workers who share the records.
    """
    schema = records.schema

    def chosen(chunk: Chunk) -> tuple[Tensor, Tensor]:
        return positives(chunk, schema, task, _counted(schema, part))

    return _popularity(records, schema.groups[schema.tasks[task].group].entity, chosen, part, total)


def action_popularity(
    records: Records,
    group: str,
    action: str,
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> Popularity:
    """Returns how often each object had an action of a group, as `popularity` does, but of all behaviors."""
    row = FIRST_ROW + records.schema.groups[group].actions.index(action)

    def done(chunk: Chunk) -> tuple[Tensor, Tensor]:
        behaviors = chunk.groups[group]
        counted = behaviors.action == row
        return tf.boolean_mask(behaviors.id, counted), tf.boolean_mask(behaviors.timestamp, counted)

    return _popularity(records, records.schema.groups[group].entity, done, part, total)


def shown_popularity(
    records: Records,
    task: str,
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> Popularity:
    """Returns how often each object was among the candidates of a task with impressions, as `popularity` does."""
    schema = records.schema

    def shown(chunk: Chunk) -> tuple[Tensor, Tensor]:
        targets = find_targets(chunk, schema, task, _counted(schema, part))
        indices, owners = _shown(targets, chunk.requests[task])
        return tf.gather(chunk.requests[task].id, indices), tf.gather(targets.request_time, owners)

    return _popularity(records, schema.groups[schema.tasks[task].group].entity, shown, part, total)


def popularity_of_values(of_objects: Popularity, values: np.ndarray, rows: int) -> Popularity:
    """Returns how often objects with each value of a feature were counted.

    Args:
        of_objects: the counts of the objects.
        values: the rows of each object's values in the feature's table, int [objects, V]; 0 is none.
        rows: of the table.
    """
    counts = np.zeros((rows, of_objects.counts.shape[1]), np.int64)
    for column in values.T:
        np.add.at(counts, column, of_objects.counts)
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


def _counted(schema: Schema, part: Part) -> Part:
    """Returns the targets that count for who trains on a part."""
    return Part.ALL if schema.split.kind is SplitKind.BY_TIME else part


def _popularity(
    records: Records,
    entity: str,
    events: Callable[[Chunk], tuple[Tensor, Tensor]],
    part: Part,
    total: Callable[[np.ndarray], np.ndarray],
) -> Popularity:
    """Counts the events of all chunks: objects and Unix seconds, int64 [M] each."""

    def of_chunk(_: Tensor, serialized: Tensor) -> tuple[Tensor, Tensor]:
        return events(parse(serialized, records.schema))

    chunks = read_chunks(records, part, tf.constant([EVALUATION_SEED, 0], tf.int64))
    chunks = chunks.map(without_autograph(of_chunk), num_parallel_calls=tf.data.AUTOTUNE)
    hours = np.zeros(SPAN // _HOUR, np.int64)
    for _, timestamps in chunks.as_numpy_iterator():
        np.add.at(hours, timestamps // _HOUR, 1)
    reached = np.cumsum(total(hours))
    shares = reached[-1] * np.arange(1, PERIODS + 1) / PERIODS
    begins = (np.searchsorted(reached, shares) + 1) * _HOUR
    counts = np.zeros((records.schema.entities[entity].rows, PERIODS), np.int32)
    for ids, timestamps in chunks.as_numpy_iterator():
        np.add.at(counts, (ids, np.searchsorted(begins, timestamps, side="right")), 1)
    return Popularity(begins, total(counts))


def positive_counts(records: Records, task: str, part: Part = Part.TRAINING) -> np.ndarray:
    """Returns how often each object was a positive of a task's training targets, int64 [rows of the entity's catalog].

    Unlike `Catalog.counts` it holds nothing of validation or test, whatever the split.
    """
    schema = records.schema
    rows = schema.entities[schema.groups[schema.tasks[task].group].entity].rows

    def count(serialized: Tensor, _: Tensor) -> Tensor:
        ids, _ = positives(parse(serialized, schema), schema, task, part)
        counts = tf.math.bincount(tf.cast(ids, tf.int32), minlength=rows, maxlength=rows, dtype=tf.int64)
        return tf.ensure_shape(counts, [rows])

    return sum_over_chunks(records, part, EVALUATION_SEED, count)


def positives(chunk: Chunk, schema: Schema, task: str, part: Part) -> tuple[Tensor, Tensor]:
    """Returns what was chosen in the targets of a chunk, and when: objects and Unix seconds, int64 [M] each.

    What was chosen of a list is known from when the user did something with it: the first behavior of the task's group
    on it, since the request. Where no behavior tells, it counts from the request on.
    """
    targets = find_targets(chunk, schema, task, part)
    spec = schema.tasks[task]
    behaviors = chunk.groups[spec.group]
    if spec.candidates is Candidates.SAMPLED:
        return tf.gather(behaviors.id, targets.index), targets.request_time
    indices, owners = _shown(targets, chunk.requests[task])
    chosen = tf.gather(chunk.requests[task].label, indices) > 0
    indices, owners = tf.boolean_mask(indices, chosen), tf.boolean_mask(owners, chosen)
    ids = tf.gather(chunk.requests[task].id, indices)
    user, request_time = tf.gather(targets.user, owners), tf.gather(targets.request_time, owners)
    return ids, _first_done(behaviors, user, ids, request_time)


def _shown(targets: Targets, requests: Requests) -> tuple[Tensor, Tensor]:
    """Returns the indices of all candidates of the targets in the flat candidates, and whose they are: int64 [C]."""
    starts, ends = tf.gather(requests.starts, targets.index), tf.gather(requests.ends, targets.index)
    indices = tf.ragged.range(starts, ends)
    return indices.values, indices.value_rowids()


def _first_done(behaviors: Behaviors, user: Tensor, ids: Tensor, since: Tensor) -> Tensor:
    """Returns when each user first did something with an object since a moment, else that moment: int64 [M]."""
    pairs, wanted = behaviors.user * SPAN + behaviors.id, user * SPAN + ids
    by_pair = tf.argsort(pairs, stable=True)  # Those of a pair stay in the order of time.
    pairs, times = tf.gather(pairs, by_pair), tf.gather(behaviors.timestamp, by_pair)
    place = first_at_least(first_at_least(pairs, pairs) * SPAN + times, first_at_least(pairs, wanted) * SPAN + since)
    # One more, for those who did nothing with anything later on.
    pairs, times = tf.pad(pairs, [[0, 1]], constant_values=-1), tf.pad(times, [[0, 1]])
    return tf.where(tf.gather(pairs, place) == wanted, tf.gather(times, place), since)
