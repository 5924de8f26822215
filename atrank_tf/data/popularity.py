"""Counts how often each object was a positive, period by period."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, read_chunks, sum_over_chunks, without_autograph
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Chunk, Part, find_targets, parse
from atrank_tf.schema import Candidates, Schema
from atrank_tf.types import Tensor

PERIODS = 64
"""Periods that are told apart. As many training targets are in each, as far as hours can tell: so they are short where
much happens, and the popularity of a log of a week and of one of ten years is about as fine."""
_HOUR = 3600


class Popularity(NamedTuple):
    """How often each object was a positive of a task's training targets, in each of `PERIODS` periods.

    `begins`: int64 [PERIODS], Unix seconds, ascending: when period 1, 2, ... begins; the last is when all is over.
    `counts`: int32 [rows of the entity's catalog, PERIODS].
    """

    begins: np.ndarray
    counts: np.ndarray


def popularity(
    records: Records,
    task: str,
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> Popularity:
    """Returns how often each object was chosen, in two passes over the records.

    Args:
        records: a records folder.
        task: whose positives count.
        part: of the targets that count; nothing of validation or test is in the training part, whatever the split.
        total: sums an array over the workers who share the records.
    """
    hours = np.zeros(SPAN // _HOUR, np.int64)
    for _, timestamps in _chosen(records, task, part):
        np.add.at(hours, timestamps // _HOUR, 1)
    reached = np.cumsum(total(hours))
    shares = reached[-1] * np.arange(1, PERIODS + 1) / PERIODS
    begins = (np.searchsorted(reached, shares) + 1) * _HOUR
    entity = records.schema.groups[records.schema.tasks[task].group].entity
    counts = np.zeros((records.schema.entities[entity].rows, PERIODS), np.int32)
    for ids, timestamps in _chosen(records, task, part):
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
    """Returns what was chosen in the targets of a chunk, and when: objects and Unix seconds, int64 [M] each."""
    targets = find_targets(chunk, schema, task, part)
    spec = schema.tasks[task]
    if spec.candidates is Candidates.SAMPLED:
        return tf.gather(chunk.groups[spec.group].id, targets.index), targets.request_time
    shown = chunk.requests[task]
    starts, ends = tf.gather(shown.starts, targets.index), tf.gather(shown.ends, targets.index)
    indices = tf.ragged.range(starts, ends)
    chosen = tf.gather(shown.label, indices.values) > 0
    ids = tf.gather(shown.id, tf.boolean_mask(indices.values, chosen))
    return ids, tf.boolean_mask(tf.gather(targets.request_time, indices.value_rowids()), chosen)


def _chosen(records: Records, task: str, part: Part) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the objects that were chosen and when, int64 [M] each, chunk by chunk."""

    def of_chunk(_: Tensor, serialized: Tensor) -> tuple[Tensor, Tensor]:
        return positives(parse(serialized, records.schema), records.schema, task, part)

    chunks = read_chunks(records, part, tf.constant([EVALUATION_SEED, 0], tf.int64))
    yield from chunks.map(without_autograph(of_chunk), num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()
