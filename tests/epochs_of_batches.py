"""Epochs of batches, as lists of what `as_numpy_iterator` gives."""

from typing import Any

import numpy as np
import tensorflow as tf


def equal(first: Any, second: Any) -> bool:
    """Whether two epochs hold the same batches in the same order."""
    pairs = zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True)
    # A missing income is NaN.
    return len(first) == len(second) and all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)
