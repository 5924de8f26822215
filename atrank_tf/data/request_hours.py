"""In which hours of the week requests come."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, sum_over_chunks
from atrank_tf.data.records import Records
from atrank_tf.data.targets import Part, find_targets, parse
from atrank_tf.types import Tensor

_HOURS = 7 * 24


def request_hours(records: Records, tasks: Sequence[str], part: Part = Part.TRAINING) -> np.ndarray:
    """Counts the targets of tasks in each hour of the week.

    Args:
        records: a records folder, which is read once.
        tasks: whose targets count, together.
        part: of the data that counts.

    Returns:
        int64 [168], by UTC; the first hour is that of Thursday 0:00, as Unix time begins.
    """

    def count(_: Tensor, serialized: Tensor, __: Tensor) -> Tensor:
        chunk = parse(serialized, records.schema)
        times = [find_targets(chunk, records.schema, task, part).request_time for task in tasks]
        hours = tf.concat(times, axis=0) // 3600 % _HOURS
        return tf.ensure_shape(tf.math.bincount(tf.cast(hours, tf.int32), None, _HOURS, dtype=tf.int64), [_HOURS])

    return sum_over_chunks(records, part, EVALUATION_SEED, count)
