"""Masks of attention as numbers that are added to scores or multiplied with outputs."""

from keras import ops

from atrank_tf.types import Tensor


def large_negative(dtype: str) -> float:
    """Returns a number of a float type that is below all scores, and may be added to one and stay finite."""
    return -6e4 if dtype == "float16" else -1e30


def additive_mask(mask: Tensor, dtype: str) -> Tensor:
    """Returns what is added to scores so that a softmax gives exactly 0 where `mask` is False.

    Added where the scores are widest, it costs one pass over them, and none if it joins a bias before. A row of scores
    that is masked entirely still has weights that sum to 1: something real must be in it, as a sink.

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


def scale_by_view(values: Tensor, factors: Tensor) -> Tensor:
    """Multiplies values [B, Q, D] by factors [B, R, 1]: Q / R consecutive ones by each factor."""
    if factors.shape[1] == 1:
        return values * factors
    shape = ops.shape(values)
    views = ops.reshape(values, (shape[0], ops.shape(factors)[1], -1, shape[-1]))
    return ops.reshape(views * factors[:, :, None], shape)
