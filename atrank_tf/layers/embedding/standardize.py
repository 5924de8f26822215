"""Numeric columns on a common scale."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from atrank_tf.types import Tensor

_FARTHEST = 1e4


@keras.saving.register_keras_serializable(package="atrank_tf")
class Standardize(keras.layers.Layer):
    """Stacks numeric columns and standardizes each: (x - mean) / sqrt(variance); a missing value (NaN) becomes 0.

    What is farther than 1e4 from 0 becomes ±1e4, infinity too: scores stay finite whatever a request holds. No value is
    so far among the 1e8 that mean and variance are of (none of n is farther than sqrt(n)).

    Args:
        means: mean of each column.
        variances: variance of each column; 0 counts as 1.

    Call arguments:
        columns: a list of F float tensors [...].

    Returns:
        float [..., F] in the compute dtype.

    Raises:
        ValueError: there are not as many variances as means.
    """

    def __init__(self, means: Sequence[float], variances: Sequence[float], **kwargs: Any) -> None:
        # Half precision has no room for the mean: a price of 1001 would be 1000.
        super().__init__(autocast=False, **kwargs)
        if len(means) != len(variances):
            raise ValueError(f"Expected as many variances as means. Received: {len(variances)} and {len(means)}.")
        self.means = tuple(float(mean) for mean in means)
        self.variances = tuple(float(variance) for variance in variances)

    def call(self, columns: Sequence[Tensor]) -> Tensor:
        values = ops.stack(columns, axis=-1)
        scale = np.sqrt([variance or 1.0 for variance in self.variances])
        scaled = (values - ops.cast(self.means, values.dtype)) / ops.cast(scale, values.dtype)
        scaled = ops.clip(scaled, -_FARTHEST, _FARTHEST)
        return ops.cast(ops.where(ops.isnan(scaled), ops.zeros_like(scaled), scaled), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"means": self.means, "variances": self.variances}
