"""Numbers on a common scale."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from atrank_tf.types import Shape, Tensor

_FARTHEST = 1e4
_LEAST_DEVIATION = 0.1
"""So that no number is made more than ten times as large."""
_MOST_DEVIATIONS = 10.0
"""Where numbers on one scale end, so that what training saw once does not outweigh all else."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class Standardize(keras.layers.Layer):
    """Stacks numeric columns and standardizes each: (x - mean) / sqrt(variance); a missing value (NaN) becomes 0.

    Of a logarithmic column x is sign(x) log(1 + |x|), which takes a long tail to where the other values are.

    What is farther than 1e4 from 0 becomes ±1e4, infinity too: scores stay finite whatever a request holds. No value is
    so far among the 1e8 that mean and variance are of (none of n is farther than sqrt(n)).

    Args:
        means: mean of each column.
        variances: variance of each column; 0 counts as 1.
        logarithmic: whether each column is; () for none. Mean and variance are then those of its logarithms.

    Call arguments:
        columns: a list of F float tensors [...].

    Returns:
        float [..., F] in the compute dtype.

    Raises:
        ValueError: there are not as many of each.
    """

    def __init__(
        self, means: Sequence[float], variances: Sequence[float], logarithmic: Sequence[bool] = (), **kwargs: Any
    ) -> None:
        # Half precision has no room for the mean: a price of 1001 would be 1000.
        super().__init__(autocast=False, **kwargs)
        if len(means) != len(variances):
            raise ValueError(f"Expected as many variances as means. Received: {len(variances)} and {len(means)}.")
        if logarithmic and len(logarithmic) != len(means):
            raise ValueError(f"Expected as many logarithmic as means. Received: {len(logarithmic)} and {len(means)}.")
        self.logarithmic = tuple(logarithmic)
        self.means = tuple(float(mean) for mean in means)
        self.variances = tuple(float(variance) for variance in variances)

    def call(self, columns: Sequence[Tensor]) -> Tensor:
        pairs = zip(columns, self.logarithmic or [False] * len(columns), strict=True)
        values = ops.stack([_logarithm(column) if wanted else column for column, wanted in pairs], axis=-1)
        scale = np.sqrt([variance or 1.0 for variance in self.variances])
        scaled = (values - ops.cast(self.means, values.dtype)) / ops.cast(scale, values.dtype)
        scaled = ops.clip(scaled, -_FARTHEST, _FARTHEST)
        return ops.cast(ops.where(ops.isnan(scaled), ops.zeros_like(scaled), scaled), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {"means": self.means, "variances": self.variances, "logarithmic": self.logarithmic}
        return super().get_config() | own


@keras.saving.register_keras_serializable(package="atrank_tf")
class CountNormalization(keras.layers.Layer):
    """Puts counted numbers on one scale, so that a network learns from all of them at one speed.

    Rough sketch:
        z = (x - mean) / max(deviation, 0.1)
        found = z / sqrt(1 + (z / 10)^2)

    What is ordinary is z, almost; what is far ends at 10, in its order: counts have long tails, and grow with time.

    `adapt` measures mean and standard deviation of each number; until then they are 0 and 1. Both are weights that no
    training changes.

    Glossary: C numbers.

    Call arguments:
        numbers: float [..., C].

    Returns:
        float [..., C] in the compute dtype, from -10 to 10.

    Reference:
        The smooth clipping of Holzmüller et al., "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular
        Data" (arXiv 2407.04491).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, numbers_shape: Shape) -> None:
        size = (numbers_shape[-1],)
        self.mean = self.add_weight(shape=size, initializer="zeros", trainable=False, dtype="float32", name="mean")
        self.deviation = self.add_weight(
            shape=size, initializer="ones", trainable=False, dtype="float32", name="deviation"
        )

    def adapt(self, numbers: np.ndarray) -> None:
        """Measures the scale.

        Args:
            numbers: float [M, C], M at least 1.
        """
        numbers = np.asarray(numbers, np.float64)
        self.mean.assign(numbers.mean(axis=0))
        self.deviation.assign(np.maximum(numbers.std(axis=0), _LEAST_DEVIATION))

    def call(self, numbers: Tensor) -> Tensor:
        found = (ops.cast(numbers, "float32") - self.mean) / self.deviation
        return ops.cast(found * ops.rsqrt(1.0 + ops.square(found / _MOST_DEVIATIONS)), self.compute_dtype)


def _logarithm(values: Tensor) -> Tensor:
    return ops.sign(values) * ops.log1p(ops.absolute(values))
