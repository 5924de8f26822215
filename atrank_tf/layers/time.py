"""Time gaps in buckets: as part of a behavior's embedding, and as a bias on attention scores."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.types import Shape, Tensor


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


@keras.saving.register_keras_serializable(package="atrank_tf")
class TimeBias(keras.layers.Layer):
    """Learns a bias on attention scores for each time gap and semantic space.

    Rough sketch:
        bias_k(gap) = sum of b_k[i] over the boundaries i that the gap has reached

    The buckets are those of `TimeBuckets`: [0, 1) [1, 2) [2, 4) [4, 8) ... units, the last one open. Bucket 0 has bias
    0, which loses nothing: weights see differences only, and a sink has a score of its own. A gap below 0 counts as 0.

    Glossary: B users, R timestamps at which time is told (of requests, or of the behaviors), T behaviors, K spaces.

    Args:
        boundaries: lower ends of the buckets 1, 2, ... in seconds, ascending whole numbers above 0.
        num_spaces: K.

    Call arguments:
        now: int64 [B, R], Unix seconds.
        timestamp: int64 [B, T], Unix seconds.

    Returns:
        float [B, K, R, T].

    Raises:
        ValueError: `boundaries` do not ascend, or are not above 0.

    Reference:
        TiSASRec (Li et al., WSDM 2020) and HSTU (arXiv 2402.17152), section 3.2: relative time in the attention scores.
    """

    def __init__(self, boundaries: Sequence[int], num_spaces: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.boundaries = ascending(boundaries)
        self.num_spaces = num_spaces

    def build(self, *_: Any) -> None:
        self.steps = self.add_weight(name="steps", shape=(len(self.boundaries), self.num_spaces), initializer="zeros")

    def call(self, now: Tensor, timestamp: Tensor) -> Tensor:
        bias = ops.pad(ops.cumsum(ops.convert_to_tensor(self.steps), axis=0), ((1, 0), (0, 0)))  # [buckets, K]
        return take_by_bucket(bias, bucketize(now, timestamp, self.boundaries))

    def compute_output_shape(self, now_shape: Shape, timestamp_shape: Shape) -> Shape:
        return (now_shape[0], self.num_spaces, now_shape[1], timestamp_shape[1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"boundaries": self.boundaries, "num_spaces": self.num_spaces}


@tf.custom_gradient  # type: ignore[untyped-decorator]
def take_by_bucket(values: Tensor, bucket: Tensor) -> Tensor:
    """Returns `values` [buckets, K] of each bucket, int32 [B, R, T] -> float [B, K, R, T]."""

    def gradient(upstream: Tensor) -> tuple[Tensor, None]:
        # Summed user by user and space by space: less than half the time of tf.gather's own gradient, in one order.
        users, spaces, references, behaviors = tf.unstack(tf.shape(upstream))
        repeated = tf.repeat(tf.reshape(bucket, (users, references * behaviors)), spaces, axis=0)
        weights = tf.cast(tf.reshape(upstream, tf.shape(repeated)), tf.float32)
        sums = tf.raw_ops.DenseBincount(input=repeated, size=tf.shape(values)[0], weights=weights)
        total = tf.reduce_sum(tf.reshape(sums, (users, spaces, tf.shape(values)[0])), axis=0)
        return tf.ensure_shape(tf.cast(tf.transpose(total), values.dtype), values.shape), None

    return tf.transpose(tf.gather(values, bucket), (0, 3, 1, 2)), gradient
