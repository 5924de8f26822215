"""What keeps attention off what is not real."""

from typing import Any

from keras import ops


def hidden(mask: Any, dtype: str) -> Any:
    """Returns what is added to scores so that a softmax gives exactly 0 where `mask` is False.

    Added where the scores are widest, it costs one pass over them, and none if it joins a bias before. A row of scores
    with nothing real is left with weights all the same: what is read by them must be made 0.

    Args:
        mask: bool, of any shape; True = real.
        dtype: float type of the scores, which must be finite, and smaller than 1e4 in float16.

    Returns:
        0 where `mask` is True, elsewhere a number below all scores.
    """
    lowest = -6e4 if dtype == "float16" else -1e30
    return ops.where(mask, ops.cast(0.0, dtype), ops.cast(lowest, dtype))


def by_view(values: Any, factors: Any, axis: int) -> Any:
    """Multiplies values [..., Q, D], Q at `axis`, by a factor for each view [..., R, 1]."""
    if factors.shape[axis] == 1:
        return values * factors
    shape = ops.shape(values)
    views = ops.reshape(values, (*shape[:axis], ops.shape(factors)[axis], -1, shape[-1]))
    return ops.reshape(views * ops.expand_dims(factors, axis + 1), shape)
