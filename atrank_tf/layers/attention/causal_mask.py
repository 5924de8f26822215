"""Which behaviors of a timeline each behavior sees."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class CausalMask(keras.layers.Layer):
    """Makes the mask of causal self-attention: each behavior sees earlier ones, and those of its timestamp by a rule.

    Of its own timestamp, a behavior of a group whose order within a timestamp counts (`ordered`) sees only the
    behaviors of its group that stand before it, and itself; every other behavior sees all of them. So nothing that a
    target may not see reaches it through what it may see.

    Glossary: B users, T behaviors of all groups.

    Masking: padding is not looked at; the caller masks it.

    Args:
        ordered: for each group, whether its order within a timestamp counts.

    Call arguments:
        timestamp: int64 [B, T]; those of one group in time order.
        group: int64 [B, T], the number of each behavior's group, from 0.

    Returns:
        bool [B, T, T]: whether the behavior of the second axis sees the one of the third.
    """

    def __init__(self, ordered: Sequence[bool], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ordered = tuple(bool(each) for each in ordered)

    def call(self, timestamp: Tensor, group: Tensor) -> Tensor:
        query, key = ops.expand_dims(timestamp, 2), ops.expand_dims(timestamp, 1)
        if not any(self.ordered):
            return query >= key
        return ops.logical_or(query > key, ops.logical_and(query == key, self._same_timestamp(group)))

    def _same_timestamp(self, group: Tensor) -> Tensor:
        """Returns which behaviors each one sees if all share one timestamp, bool [B, T, T]."""
        position = ops.cumsum(ops.ones_like(group), axis=1)
        own = ops.logical_and(group[:, :, None] == group[:, None], position[:, :, None] >= position[:, None])
        return ops.logical_or(ops.logical_not(ops.take(ops.convert_to_tensor(self.ordered), group))[:, :, None], own)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"ordered": self.ordered}
