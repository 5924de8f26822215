"""A behavior's place in its sequence."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned embedding of the place of each behavior, counted from the newest: 0 for the newest, 1 for the one
    before, and so on; all places from `positions` - 1 on share the last embedding.

    Counted from the oldest, the newest behavior would have another place in each history.

    Glossary: B users, T behaviors, D width.

    Args:
        positions: rows of the table.

    Call arguments:
        behaviors: float [B, T, D], in the order of time.
        behavior_mask: bool [B, T], True = real, padding last.

    Returns:
        float [B, T, D].

    Reference:
        SASRec (Kang and McAuley, arXiv 1808.09781), section III.A, which pads on the left: places from the end, too.
    """

    def __init__(self, positions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if positions <= 0:
            raise ValueError(f"positions must be positive. Received: positions={positions}.")
        self.positions = positions

    def build(self, behaviors_shape: tuple[int | None, ...]) -> None:
        shape = (self.positions, behaviors_shape[-1])
        self.table = self.add_weight(name="table", shape=shape, initializer="uniform")

    def call(self, behaviors: Any, behavior_mask: Any) -> Any:
        real = ops.cast(behavior_mask, "int32")
        place = ops.sum(real, axis=1, keepdims=True) - ops.cumsum(real, axis=1)
        return behaviors + ops.take(self.table, ops.minimum(place, self.positions - 1), axis=0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"positions": self.positions}
