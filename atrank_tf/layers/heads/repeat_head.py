"""Ranking by what the user did with the same object before."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers.time import ascending, bucketize, take_by_bucket
from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class RepeatHead(keras.layers.Layer):
    """Scores by the user's earlier behaviors on the same object: by action, and how long ago.

    Rough sketch:
        logit(o) = sum over behaviors b with o_b = o of w[a_b, bucket(now - t_b)]

    An attention finds the same object only as far as its embedding tells it from all others, which takes many examples
    of each. Where people come back to what they bought, or never do, this finds it at once: w is a few hundred numbers,
    the same for all objects, which start at 0.

    Glossary: B users, R requests, N candidates of each, T behaviors.

    Masking: a behavior that the request does not see adds 0. A candidate without any has logit 0 exactly.

    Args:
        boundaries: lower ends of the time buckets 1, 2, ... in seconds, ascending whole numbers above 0.
        num_actions: number of actions.

    Call arguments:
        candidates: int64 [B, R, N], object ids.
        objects: int64 [B, T], the ids that were acted on; a number that no candidate has for padding.
        actions: int64 [B, T], below `num_actions`.
        seen: bool [B, R, T], which behaviors each request sees.
        now: int64 [B, R], Unix seconds.
        timestamp: int64 [B, T], Unix seconds.

    Returns:
        Logits, float [B, R, N].

    Raises:
        ValueError: `num_actions` is not positive, or `boundaries` do not ascend.

    Reference:
        Cross-product features of history and candidate: Wide & Deep (arXiv 1606.07792), section 3.1.
    """

    def __init__(self, boundaries: Sequence[int], num_actions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_actions <= 0:
            raise ValueError(f"num_actions must be positive. Received: num_actions={num_actions}.")
        self.boundaries = ascending(boundaries)
        self.num_actions = num_actions

    def build(self, *_: Any) -> None:
        shape = (self.num_actions, len(self.boundaries) + 1)
        self.table = self.add_weight(name="table", shape=shape, initializer="zeros")

    def call(
        self, candidates: Tensor, objects: Tensor, actions: Tensor, seen: Tensor, now: Tensor, timestamp: Tensor
    ) -> Tensor:
        bucket = bucketize(now, timestamp, self.boundaries)  # [B, R, T]
        first = tf.cast(actions, bucket.dtype) * (len(self.boundaries) + 1)
        weights = take_by_bucket(ops.reshape(self.table, (-1, 1)), first[:, tf.newaxis] + bucket)[:, 0]  # [B, R, T]
        weights = weights * tf.cast(seen, weights.dtype)
        same = tf.cast(candidates[..., tf.newaxis] == objects[:, tf.newaxis, tf.newaxis], weights.dtype)  # [B, R, N, T]
        return tf.matmul(same, weights[..., tf.newaxis])[..., 0]

    def compute_output_shape(self, candidates_shape: Shape, *_: Any) -> Shape:
        return candidates_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"boundaries": self.boundaries, "num_actions": self.num_actions}
