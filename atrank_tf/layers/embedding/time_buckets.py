"""Time gaps -> buckets."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class TimeBuckets(keras.layers.Layer):
    """Buckets the gap between the request and each behavior: ATRank's bucket_i(time_j).

    The buckets double: [0, 1) [1, 2) [2, 4) [4, 8) ... units, the last one open. A gap of less than one unit has
    bucket 0 to itself; a behavior after `now` counts as one at `now`.

    Glossary: B users, T behaviors.

    Args:
        boundaries: lower ends of the buckets 1, 2, ... in seconds, ascending whole numbers above 0.

    Call arguments:
        now: int64 [B], Unix seconds.
        timestamp: int64 [B, T], Unix seconds.

    Returns:
        int32 [B, T], in 0..len(boundaries).

    Raises:
        ValueError: `boundaries` do not ascend, or are not above 0.

    Reference:
        ATRank (arXiv 1711.06632), section "Temporal encoding"; bucket 0 and the open end are this package's.
    """

    def __init__(self, boundaries: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.boundaries = ascending(boundaries)

    def call(self, now: Tensor, timestamp: Tensor) -> Tensor:
        return bucketize(ops.expand_dims(now, -1), timestamp, self.boundaries)[:, 0]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"boundaries": self.boundaries}


def ascending(boundaries: Sequence[int]) -> tuple[int, ...]:
    """Returns boundaries as whole numbers.

    Raises:
        ValueError: they do not ascend, or are not above 0.
    """
    found = tuple(int(boundary) for boundary in boundaries)
    if list(found) != sorted(set(found)) or any(boundary <= 0 for boundary in found):
        raise ValueError(f"Expected ascending boundaries above 0. Received: boundaries={found}.")
    return found


def bucketize(now: Tensor, timestamp: Tensor, boundaries: Sequence[int]) -> Tensor:
    """Returns the bucket of each gap between timestamps [B, R] and behaviors [B, T], int32 [B, R, T]."""
    gap = ops.expand_dims(now, 2) - ops.expand_dims(timestamp, 1)
    # Whole numbers throughout: seconds since 1970 do not fit a float32.
    ends = tf.constant([list(boundaries)], tf.int64)
    return tf.reshape(tf.raw_ops.UpperBound(sorted_inputs=ends, values=tf.reshape(gap, (1, -1))), tf.shape(gap))
