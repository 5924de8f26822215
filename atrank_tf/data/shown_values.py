"""Adds up what objects were shown with, period by period: prices, positions."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, read_chunks, without_autograph
from atrank_tf.data.popularity import counted_part
from atrank_tf.data.records import Records
from atrank_tf.data.targets import Part, candidates_of, find_targets, parse
from atrank_tf.schema import FIRST_ROW
from atrank_tf.types import Tensor


class ShownValues(NamedTuple):
    """What objects of an entity were shown with in each of P periods: C numbers.

    `begins`: int64 [P], Unix seconds, ascending: when period 1, 2, ... begins.
    `counts`: int32 [rows of the entity's catalog, P], showings; `sums`: float32 [rows, P, C], of their numbers. Both
    are 0 of padding and of what is unknown.
    `squares`: float64 [P, C], of the numbers of all objects, added up.
    """

    begins: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


def shown_values(
    records: Records,
    task: str,
    columns: Mapping[str, Callable[[Tensor], Tensor]],
    begins: np.ndarray,
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> ShownValues:
    """Returns the sums of numbers that the candidates of a task with impressions were shown with.

    Lists of the same parts count as `popularity` counts.

    Args:
        records: a records folder.
        task: the task.
        columns: numeric columns of its context -> a function (values, float32 [M]) -> numbers, none of them NaN.
        begins: of the periods, as `popularity` has them.
        part: of the targets that count, where not all do.
        total: sums an array over the workers who share the records.
    """
    schema = records.schema
    of_targets = counted_part(schema, part)

    def of_chunk(_: Tensor, serialized: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chunk = parse(serialized, schema)
        targets, lists = find_targets(chunk, schema, task, of_targets), chunk.requests[task]
        indices, owners = candidates_of(targets, lists)
        values = [number(tf.gather(lists.context[column], indices)) for column, number in columns.items()]
        return tf.gather(lists.id, indices), tf.gather(targets.request_time, owners), tf.stack(values, axis=-1)

    periods = len(begins)
    counts = np.zeros(schema.entities[schema.entity_of(task)].rows * periods, np.int32)
    sums, squares = np.zeros((len(counts), len(columns)), np.float32), np.zeros((periods, len(columns)))
    chunks = read_chunks(records, part, tf.constant([EVALUATION_SEED, 0], tf.int64))
    chunks = chunks.map(without_autograph(of_chunk), num_parallel_calls=tf.data.AUTOTUNE)
    for ids, timestamps, values in chunks.as_numpy_iterator():
        known = ids >= FIRST_ROW
        period = np.searchsorted(begins, timestamps[known], side="right")
        np.add.at(counts, ids[known] * periods + period, 1)
        np.add.at(sums, ids[known] * periods + period, values[known])
        np.add.at(squares, period, values[known].astype(np.float64) ** 2)
    return ShownValues(
        begins,
        total(counts).reshape(-1, periods),
        total(sums).reshape(-1, periods, len(columns)),
        total(squares),
    )
