"""Masks of attention: causal by time, and as numbers that are added to scores or multiplied with outputs."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.types import Tensor


def large_negative(dtype: str) -> float:
    """Returns a number of a float type that is below all scores, and may be added to one and stay finite."""
    return -6e4 if dtype == "float16" else -1e30


def additive_mask(mask: Tensor, dtype: str) -> Tensor:
    """Returns what is added to scores so that a softmax gives exactly 0 where `mask` is False.

    Added where the scores are widest, it costs one pass over them, and none if it joins a bias before. A row of scores
    that is masked entirely still has weights that sum to 1: its output must be set to 0.

    Args:
        mask: bool, of any shape; True = real.
        dtype: float type of the scores, which must be finite, and smaller than 1e4 in float16.

    Returns:
        The shape of `mask`, in `dtype`: 0 where it is True, elsewhere a number below all scores.
    """
    return ops.where(mask, ops.cast(0.0, dtype), ops.cast(large_negative(dtype), dtype))


def zero_padding(values: Tensor, mask: Tensor) -> Tensor:
    """Sets values [..., T, D] to 0 where a mask, bool [..., T], is False."""
    return values * ops.cast(ops.expand_dims(mask, -1), values.dtype)


def scale_by_view(values: Tensor, factors: Tensor, axis: int) -> Tensor:
    """Multiplies values [..., Q, D], Q at `axis`, by factors [..., R, 1]: Q / R consecutive ones by each factor."""
    if factors.shape[axis] == 1:
        return values * factors
    shape = ops.shape(values)
    views = ops.reshape(values, (*shape[:axis], ops.shape(factors)[axis], -1, shape[-1]))
    return ops.reshape(views * ops.expand_dims(factors, axis + 1), shape)


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
