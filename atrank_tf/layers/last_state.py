"""A sequence -> the state at its end."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class LastState(keras.layers.Layer):
    """Takes the state of the last real place of a sequence; a sequence without any gives zeros.

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
