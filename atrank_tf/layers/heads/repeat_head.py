"""Scores by what the user did with the very candidate before."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers.attention.time_bias import of_buckets, time_buckets


@keras.saving.register_keras_serializable(package="atrank_tf")
class RepeatHead(keras.layers.Layer):
    """Adds up what each earlier behavior on the same object says: by its action, and how long it is ago.

    Rough sketch:
        logit(o) = sum over behaviors b with o_b = o of w[a_b, bucket(now - t_b)]

    An attention finds the same object only as far as its embedding tells it from all others, which takes many examples
    of each. Where people come back to what they bought, or never do, this finds it at once: w is a few hundred numbers,
    the same for all objects, which start at 0.

    Glossary: B users, R moments, N candidates of each, T behaviors.

    Args:
        boundaries: lower ends of the time buckets 1, 2, ... in seconds, ascending whole numbers.
        actions: number of actions.

    Call arguments:
        candidates: int64 [B, R, N], objects.
        objects: int64 [B, T], what was acted on; a number that no candidate has for padding.
        actions: int64 [B, T], below `actions`.
        seen: bool [B, R, T], which behaviors each moment sees.
        now: int64 [B, R], Unix seconds.
        timestamp: int64 [B, T], Unix seconds.

    Returns:
        Logits, float [B, R, N]; exactly 0 for an object that the user never acted on.

    Reference:
        Cross-product features of history and candidate: Wide & Deep (arXiv 1606.07792), section 3.1.
    """

    def __init__(self, boundaries: Sequence[int], actions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if actions <= 0:
            raise ValueError(f"actions must be positive. Received: actions={actions}.")
        self.boundaries = tuple(int(boundary) for boundary in boundaries)
        self.actions = actions

    def build(self, *_: Any) -> None:
        buckets = len(self.boundaries) + 1
        self.table = self.add_weight(name="table", shape=(self.actions, buckets), initializer="zeros")

    def call(self, candidates: Any, objects: Any, actions: Any, seen: Any, now: Any, timestamp: Any) -> Any:
        bucket = time_buckets(now, timestamp, self.boundaries)  # [B, R, T]
        first = tf.cast(actions, bucket.dtype) * (len(self.boundaries) + 1)
        said = of_buckets(ops.reshape(self.table, (-1, 1)), first[:, tf.newaxis] + bucket)[:, 0]  # [B, R, T]
        said = said * tf.cast(seen, said.dtype)
        same = tf.cast(candidates[..., tf.newaxis] == objects[:, tf.newaxis, tf.newaxis], said.dtype)  # [B, R, N, T]
        return tf.matmul(same, said[..., tf.newaxis])[..., 0]

    def compute_output_shape(self, candidates_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        return candidates_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"boundaries": self.boundaries, "actions": self.actions}
