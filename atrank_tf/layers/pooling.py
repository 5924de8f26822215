"""A masked sequence -> one vector: its mean, its maximum, or its last state."""

import keras
from keras import ops

from atrank_tf.layers.attention.masks import large_negative
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class MeanPooling(keras.layers.Layer):
    """Averages the embeddings of a multi-valued feature, or of a history.

    Masking: over the real ones; of none the mean is 0.

    Call arguments:
        embeddings: float [..., values, D].
        value_mask: bool [..., values], True = real.

    Returns:
        float [..., D].
    """

    def call(self, embeddings: Tensor, value_mask: Tensor) -> Tensor:
        real = ops.cast(value_mask, embeddings.dtype)
        total = ops.sum(embeddings * real[..., None], axis=-2)
        return total / ops.maximum(ops.sum(real, axis=-1, keepdims=True), 1.0)


@keras.saving.register_keras_serializable(package="atrank_tf")
class MaxPooling(keras.layers.Layer):
    """Takes the maximum of each unit over a sequence.

    Masking: over the real states; of none the maximum is 0.

    Call arguments:
        states: float [..., T, D], T above 0.
        state_mask: bool [..., T], True = real.

    Returns:
        float [..., D].
    """

    def call(self, states: Tensor, state_mask: Tensor) -> Tensor:
        lowest = ops.cast(large_negative(states.dtype), states.dtype)
        largest = ops.max(ops.where(state_mask[..., None], states, lowest), axis=-2)
        return ops.where(ops.any(state_mask, axis=-1, keepdims=True), largest, ops.zeros_like(largest))


@keras.saving.register_keras_serializable(package="atrank_tf")
class LastState(keras.layers.Layer):
    """Takes the last state of a sequence.

    Masking: the last real one; of none the last is 0.

    Call arguments:
        states: float [B, T, D].
        state_mask: bool [B, T], True = real, padding last.

    Returns:
        float [B, D].
    """

    def call(self, states: Tensor, state_mask: Tensor) -> Tensor:
        after = ops.pad(state_mask[:, 1:], ((0, 0), (0, 1)))
        last = ops.logical_and(state_mask, ops.logical_not(after))
        return ops.sum(states * ops.cast(ops.expand_dims(last, -1), states.dtype), axis=1)
