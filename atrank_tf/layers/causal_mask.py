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

    Glossary: B users, T_g behaviors of group g, T = sum of T_g.

    Args:
        ordered: for each group, whether its order within a moment counts.

    Call arguments:
        timestamps: a list of int64 [B, T_g], one for each group, each in time order.

    Returns:
        bool [B, T, T]: whether the behavior of the second axis sees the one of the third. Padding is not looked at.
    """

    def __init__(self, ordered: Sequence[bool], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ordered = tuple(bool(each) for each in ordered)

    def call(self, timestamps: Sequence[Any]) -> Any:
        moment = ops.concatenate(timestamps, axis=1)
        query, key = ops.expand_dims(moment, 2), ops.expand_dims(moment, 1)
        if not any(self.ordered):
            return query >= key
        return ops.logical_or(query > key, ops.logical_and(query == key, self._same_moment(timestamps)))

    def _same_moment(self, timestamps: Sequence[Any]) -> Any:
        """Returns which behaviors each one sees if all share one moment, bool [1, T, T]."""
        sizes = [ops.shape(each)[1] for each in timestamps]
        group = ops.concatenate([ops.full((size,), place, "int32") for place, size in enumerate(sizes)], axis=0)
        place = ops.cumsum(ops.ones_like(group))
        ordered = ops.take(ops.convert_to_tensor(self.ordered), group)
        own = ops.logical_and(group[:, None] == group[None, :], place[:, None] >= place[None, :])
        return ops.logical_or(ops.logical_not(ordered)[:, None], own)[None]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"ordered": self.ordered}
