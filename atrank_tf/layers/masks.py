"""The softmax that knows what is real: weights of padding are exactly 0, and so is a row with nothing real in it."""

from typing import Any

from keras import ops


def masked_softmax(scores: Any, mask: Any) -> Any:
    """Softmax over the last axis, over the places where `mask` is True.

    Args:
        scores: float [..., T].
        mask: bool, broadcastable to `scores`; True = real.

    Returns:
        Weights of the shape of `scores`: 0 where `mask` is False, summing to 1 over the rest; all 0 where nothing is
        real, T = 0 included.
    """
    real = ops.cast(mask, scores.dtype)
    lowest = -1e30 if scores.dtype != "float16" else -6e4
    scores = ops.where(mask, scores, ops.cast(lowest, scores.dtype))
    highest = ops.max(scores, axis=-1, keepdims=True, initial=lowest)
    weights = ops.exp(scores - ops.stop_gradient(highest)) * real
    total = ops.sum(weights, axis=-1, keepdims=True)
    return weights / ops.where(total > 0, total, ops.ones_like(total))
