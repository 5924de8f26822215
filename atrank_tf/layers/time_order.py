"""Behaviors of all groups -> one sequence in time."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class TimeOrder(keras.layers.Layer):
    """Puts behaviors in the order of time, the oldest first, padding last.

    Behaviors of one moment stand in the order of `content`, so that the sequence depends on what was done and when, and
    not on the order in which it came. One place of padding is added at the end: what reads a sequence step by step then
    never meets an empty one.

    Glossary: B users, T behaviors, D width.

    Call arguments:
        behaviors: float [B, T, D].
        behavior_mask: bool [B, T], True = real; padding may stand anywhere.
        timestamp: int64 [B, T].
        content: int64 [B, T], a number that tells the behaviors of one moment apart.

    Returns:
        The behaviors, float [B, T + 1, D], 0 at padding, and their mask, bool [B, T + 1].
    """

    def call(self, behaviors: Any, behavior_mask: Any, timestamp: Any, content: Any) -> tuple[Any, Any]:
        moment = tf.where(behavior_mask, timestamp, tf.int64.max)
        by_content = tf.argsort(content, axis=1, stable=True)
        by_moment = tf.argsort(tf.gather(moment, by_content, batch_dims=1), axis=1, stable=True)
        order = tf.gather(by_content, by_moment, batch_dims=1)
        count = ops.sum(ops.cast(behavior_mask, "int32"), axis=1)
        mask = tf.sequence_mask(count, tf.shape(moment)[1] + 1)
        behaviors = ops.pad(tf.gather(behaviors, order, batch_dims=1), ((0, 0), (0, 1), (0, 0)))
        return tf.where(mask[..., None], behaviors, tf.zeros_like(behaviors)), mask
