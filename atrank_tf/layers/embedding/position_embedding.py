"""Embedding of a behavior's position in its sequence."""

from typing import Any

import keras
from keras import ops

from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned embedding of each behavior's position, counted from the newest.

    The newest behavior has position 0, the one before 1, and so on; all positions from `max_length` - 1 on share the
    last embedding. Counted from the oldest, the newest behavior would have another position in each history.

    Glossary: B users, T behaviors, D hidden dim.

    Args:
        max_length: rows of the table.

    Call arguments:
        behaviors: float [B, T, D], in the order of time.
        behavior_mask: bool [B, T], True = real, padding last.

    Returns:
        float [B, T, D].

    Raises:
        ValueError: `max_length` is not positive.

    Reference:
        SASRec (Kang and McAuley, arXiv 1808.09781), section III.A, which pads on the left: positions from the end, too.
    """

    def __init__(self, max_length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if max_length <= 0:
            raise ValueError(f"max_length must be positive. Received: max_length={max_length}.")
        self.max_length = max_length

    def build(self, behaviors_shape: Shape) -> None:
        shape = (self.max_length, behaviors_shape[-1])
        self.table = self.add_weight(name="table", shape=shape, initializer="uniform")

    def call(self, behaviors: Tensor, behavior_mask: Tensor) -> Tensor:
        real = ops.cast(behavior_mask, "int32")
        position = ops.sum(real, axis=1, keepdims=True) - ops.cumsum(real, axis=1)
        return behaviors + ops.take(self.table, ops.minimum(position, self.max_length - 1), axis=0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"max_length": self.max_length}
