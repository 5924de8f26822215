"""The softmax that knows what is real: weights of padding are exactly 0, and so is a row with nothing real in it."""

from typing import Any

import tensorflow as tf
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
    lowest = ops.cast(-1e30 if scores.dtype != "float16" else -6e4, scores.dtype)
    weights = tf.nn.softmax(ops.where(mask, scores, lowest))  # Keras' warns where T = 1.
    # Padding has exactly 0 already, unless nothing is real.
    return weights * ops.cast(ops.any(mask, axis=-1, keepdims=True), scores.dtype)
