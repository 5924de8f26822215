"""What each behavior of a timeline may see of the others."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class CausalMask(keras.layers.Layer):
    """Says which behaviors each behavior sees: what came before it, and what shares its moment by the rule of ties.

    A behavior of a group whose order within a moment counts (`ordered`) sees, of its own moment, only the behaviors of
    its group that stand before it, and itself; every other behavior sees all of its moment. So nothing that a target
    may not see reaches it through what it may see.

    Glossary: B users, T behaviors of all groups.

    Args:
        ordered: for each group, whether its order within a moment counts.

    Call arguments:
        timestamp: int64 [B, T]; those of one group in time order.
        group: int64 [B, T], the number of each behavior's group, from 0.

    Returns:
        bool [B, T, T]: whether the behavior of the second axis sees the one of the third. Padding is not looked at.
    """

    def __init__(self, ordered: Sequence[bool], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ordered = tuple(bool(each) for each in ordered)

    def call(self, timestamp: Any, group: Any) -> Any:
        query, key = ops.expand_dims(timestamp, 2), ops.expand_dims(timestamp, 1)
        if not any(self.ordered):
            return query >= key
        return ops.logical_or(query > key, ops.logical_and(query == key, self._same_moment(group)))

    def _same_moment(self, group: Any) -> Any:
        """Returns which behaviors each one sees if all share one moment, bool [B, T, T]."""
        place = ops.cumsum(ops.ones_like(group), axis=1)
        own = ops.logical_and(group[:, :, None] == group[:, None], place[:, :, None] >= place[:, None])
        return ops.logical_or(ops.logical_not(ops.take(ops.convert_to_tensor(self.ordered), group))[:, :, None], own)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"ordered": self.ordered}
