"""A masked sequence -> one vector: its mean, its maximum, or its last state."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class MeanPooling(keras.layers.Layer):
    """Averages the embeddings of a multi-valued feature, or of a history, over the real ones; none gives zeros.

    Call arguments:
        embeddings: float [..., values, D].
        value_mask: bool [..., values], True = real.

    Returns:
        float [..., D].
    """

    def call(self, embeddings: Any, value_mask: Any) -> Any:
        real = ops.cast(value_mask, embeddings.dtype)
        total = ops.sum(embeddings * real[..., None], axis=-2)
        return total / ops.maximum(ops.sum(real, axis=-1, keepdims=True), 1.0)


@keras.saving.register_keras_serializable(package="atrank_tf")
class MaxPooling(keras.layers.Layer):
    """Takes the maximum of each unit over the real states of a sequence; a sequence without any gives zeros.

    Call arguments:
        states: float [..., T, D], T above 0.
        state_mask: bool [..., T], True = real.

    Returns:
        float [..., D].
    """

    def call(self, states: Any, state_mask: Any) -> Any:
        lowest = ops.cast(-1e30 if states.dtype != "float16" else -6e4, states.dtype)
        largest = ops.max(ops.where(state_mask[..., None], states, lowest), axis=-2)
        return ops.where(ops.any(state_mask, axis=-1, keepdims=True), largest, ops.zeros_like(largest))


@keras.saving.register_keras_serializable(package="atrank_tf")
class LastState(keras.layers.Layer):
    """Takes the last real state of a sequence; a sequence without any gives zeros.

    Call arguments:
        states: float [B, T, D].
        state_mask: bool [B, T], True = real, padding last.

    Returns:
        float [B, D].
    """

    def call(self, states: Any, state_mask: Any) -> Any:
        after = ops.pad(state_mask[:, 1:], ((0, 0), (0, 1)))
        last = ops.logical_and(state_mask, ops.logical_not(after))
        return ops.sum(states * ops.cast(ops.expand_dims(last, -1), states.dtype), axis=1)
