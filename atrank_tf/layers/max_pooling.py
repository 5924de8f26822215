"""A sequence -> the largest of each unit."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class MaxPooling(keras.layers.Layer):
    """Takes the maximum of each unit over the real places of a sequence; a sequence without any gives zeros.

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
