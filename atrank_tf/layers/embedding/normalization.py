"""Counted numbers on a common scale."""

from typing import Any

import keras
import numpy as np
from keras import ops

from atrank_tf.types import Shape, Tensor

_FARTHEST = 8.0
_LEAST_VARIANCE = 1e-8
"""A number that varies less says nothing, and what it would say elsewhere nothing was learned of."""
_LARGEST_FACTOR = 4.0
"""Numbers that are nearly always 0 are made no larger: with few training requests a network fits their noise."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class Normalization(keras.layers.Layer):
    """Standardizes numbers by the mean and variance that each has in training data.

    Rough sketch:
        y_f = clip((x_f - mean_f) * min(1 / sqrt(variance_f), 4), -8, 8)

    As `keras.layers.Normalization`, but one that several processes can fill alike: mean and variance are loaded. They
    are weights that no training changes, so that they travel with the model into every file and export. Until they are
    loaded numbers stay as they are, up to ±8. A number that does not vary becomes 0.

    Counts need it: some are between 0 and 7, and that this user bought this very product last month is 0 for nearly
    every candidate, so that a network would learn of it last what trees learn first.

    Call arguments:
        inputs: float [..., F].

    Returns:
        float [..., F] in the compute dtype.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, inputs_shape: Shape) -> None:
        known = {"shape": (inputs_shape[-1],), "dtype": "float32", "trainable": False, "autocast": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **known)
        self.factor = self.add_weight(name="factor", initializer="ones", **known)

    def load(self, mean: np.ndarray, variance: np.ndarray) -> None:
        """Fills mean and variance.

        Args:
            mean: [F].
            variance: [F], at least 0.

        Raises:
            ValueError: a shape is not the layer's.
        """
        expected = tuple(self.mean.shape)
        if mean.shape != expected or variance.shape != expected:
            raise ValueError(
                f"Expected mean and variance of shape {expected}. Received: {mean.shape} and {variance.shape}."
            )
        varies = variance > _LEAST_VARIANCE
        self.mean.assign(mean)
        factor = np.minimum(1 / np.sqrt(np.where(varies, variance, 1.0)), _LARGEST_FACTOR)
        self.factor.assign(np.where(varies, factor, 0.0))

    def call(self, inputs: Tensor) -> Tensor:
        scaled = (ops.cast(inputs, "float32") - self.mean) * self.factor
        return ops.cast(ops.clip(scaled, -_FARTHEST, _FARTHEST), self.compute_dtype)

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        return inputs_shape
