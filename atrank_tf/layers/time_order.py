"""Sorting of behaviors by time."""

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.types import Tensor


def time_order(timestamp: Tensor, mask: Tensor, content: Tensor) -> Tensor:
    """Returns the indices of behaviors by time, int32 [B, T]: by `content` within a timestamp, then as they come.

    Padding is last.

    Args:
        timestamp, content: int64 [B, T].
        mask: bool [B, T], True = real.
    """
    by_content = tf.argsort(content, axis=1, stable=True)
    timestamp = tf.gather(tf.where(mask, timestamp, tf.int64.max), by_content, batch_dims=1)
    return tf.gather(by_content, tf.argsort(timestamp, axis=1, stable=True), batch_dims=1)


@keras.saving.register_keras_serializable(package="atrank_tf")
class TimeOrder(keras.layers.Layer):
    """Sorts behaviors by timestamp, the oldest first, padding last.

    Behaviors of one timestamp stand in the order of `content`, so that the sequence depends on what was done and when,
    and not on the order in which it came. One step of padding is added at the end: a recurrent layer then never meets
    an empty sequence.

    Glossary: B users, T behaviors, D hidden dim.

    Call arguments:
        behaviors: float [B, T, D].
        behavior_mask: bool [B, T], True = real; padding may stand anywhere.
        timestamp: int64 [B, T].
        content: int64 [B, T], a number that tells the behaviors of one timestamp apart.

    Returns:
        The behaviors, float [B, T + 1, D], 0 at padding, and their mask, bool [B, T + 1].
    """

    def call(
        self, behaviors: Tensor, behavior_mask: Tensor, timestamp: Tensor, content: Tensor
    ) -> tuple[Tensor, Tensor]:
        order = time_order(timestamp, behavior_mask, content)
        count = ops.sum(ops.cast(behavior_mask, "int32"), axis=1)
        mask = tf.sequence_mask(count, tf.shape(timestamp)[1] + 1)
        behaviors = ops.pad(tf.gather(behaviors, order, batch_dims=1), ((0, 0), (0, 1), (0, 0)))
        return tf.where(mask[..., None], behaviors, tf.zeros_like(behaviors)), mask
