"""What the numbers of an object usually are, and how far from that they are now."""

from typing import Any

import keras
import numpy as np
from keras import ops

from atrank_tf.types import Shape, Tensor

PRIOR = 3.0
"""Showings of the mean object that are added to those of each: after so many the mean is half the object's own."""
_NO_SPREAD = 0.05
"""Far below it, all values are about equal: what differs then may be but rounding."""
_AT_A_TIME = 4096
"""Objects whose means are computed together."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class UsualValues(keras.layers.Layer):
    """Compares numbers of a candidate with what they were, on average, when the same object was shown before.

    Rough sketch:
        usual(o, t)  = n / (n + 3) (mean of o - mean of all) / (standard deviation of all + 0.05)
        beyond(o, t) = n / (n + 3) (now - mean of o)         / (standard deviation of all + 0.05)

    n is how often o was shown in the periods before the one of t; means and deviation are of these showings, too. An
    object that was not shown has 0. So a price says whether it is a bargain, and a position how well others thought
    of an object. Means are weights that no training changes, as those of `RecentPopularity`; all is 0 until `load`.

    Args:
        num_objects: rows of the catalog, padding and unknown included.
        num_periods: P, periods that are told apart.
        num_values: C, numbers of a candidate. Costs 2 (C + 1) (P + 1) bytes per object.

    Call arguments:
        candidates: int64 [..., N], objects.
        values: float [..., N, C], none of them NaN.
        now: int64 [...], Unix seconds.

    Returns:
        float [..., N, 2 C] in the compute dtype: what is usual, then what is beyond.

    Raises:
        ValueError: an argument is not positive.

    Reference:
        Means drawn towards that of all by how little is known: James and Stein (1961). As numbers of a ranking model:
        this package's.
    """

    def __init__(self, num_objects: int, num_periods: int, num_values: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        for name, value in (("num_objects", num_objects), ("num_periods", num_periods), ("num_values", num_values)):
            if value <= 0:
                raise ValueError(f"{name} must be positive. Received: {name}={value}.")
        self.num_objects = num_objects
        self.num_periods = num_periods
        self.num_values = num_values

    def build(self, *_: Any) -> None:
        known = {"initializer": "zeros", "trainable": False, "autocast": False}
        periods, values = self.num_periods, self.num_values
        self.begins = self.add_weight(name="begins", shape=(periods,), dtype="int64", **known)
        shape = (self.num_objects, periods + 1, values + 1)
        self.usual = self.add_weight(name="usual", shape=shape, dtype="float16", **known)  # The last is n / (n + 3).
        self.means = self.add_weight(name="means", shape=(periods + 1, values), dtype="float32", **known)
        self.scales = self.add_weight(name="scales", shape=(periods + 1, values), dtype="float32", **known)

    def load(self, begins: np.ndarray, counts: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> None:
        """Fills the means.

        Args:
            begins: int64 [P], when period 1, 2, ... begins, in Unix seconds, ascending. What is before the first is
                period 0; from the last on, all counted periods are over.
            counts: int [num_objects, P], showings.
            sums: float [num_objects, P, C], of their values.
            squares: float [P, C], sums of the squares of all.

        Raises:
            ValueError: a shape is not the layer's, or `begins` does not ascend.
        """
        shape = (self.num_objects, self.num_periods, self.num_values)
        received = (begins.shape, counts.shape, sums.shape, squares.shape)
        if received != (shape[1:2], shape[:2], shape, shape[1:]):
            raise ValueError(
                f"Expected sums of shape {shape} and begins, counts and squares of it. Received: {received}."
            )
        if (np.diff(begins) < 0).any():
            raise ValueError(f"Expected begins to ascend. Received: begins={begins.tolist()}.")
        total = _before(counts.sum(axis=0))[:, np.newaxis]  # [P + 1, 1]
        means = _before(sums.sum(axis=0, dtype=np.float64)) / np.maximum(total, 1)
        deviations = np.sqrt(np.maximum(_before(squares) / np.maximum(total, 1) - means**2, 0.0))
        scales = 1.0 / (deviations + _NO_SPREAD)
        usual = np.zeros(self.usual.shape, np.float16)
        for first in range(0, self.num_objects, _AT_A_TIME):
            some = slice(first, first + _AT_A_TIME)
            shown = _before(counts[some], axis=1)[..., np.newaxis]
            usual[some, :, :-1] = (_before(sums[some], axis=1) - shown * means) / (shown + PRIOR) * scales
            usual[some, :, -1:] = shown / (shown + PRIOR)
        self.begins.assign(begins)
        self.usual.assign(usual)
        self.means.assign(means)
        self.scales.assign(scales)

    def call(self, candidates: Tensor, values: Tensor, now: Tensor) -> Tensor:
        period = ops.sum(ops.cast(ops.expand_dims(now, -1) >= self.begins, "int64"), axis=-1)[..., None]  # [..., 1]
        flat = ops.reshape(self.usual, (-1, self.num_values + 1))
        known = ops.cast(ops.take(flat, candidates * (self.num_periods + 1) + period, axis=0), "float32")
        usual, certain = known[..., :-1], known[..., -1:]  # [..., N, C], [..., N, 1]
        apart = (ops.cast(values, "float32") - ops.take(self.means, period, axis=0)) * ops.take(
            self.scales, period, axis=0
        )
        return ops.cast(ops.concatenate([usual, certain * apart - usual], axis=-1), self.compute_dtype)

    def compute_output_shape(self, candidates_shape: Shape, *_: Any) -> Shape:
        return (*candidates_shape, 2 * self.num_values)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_objects": self.num_objects,
            "num_periods": self.num_periods,
            "num_values": self.num_values,
        }


def _before(of_periods: np.ndarray, axis: int = 0) -> np.ndarray:
    """Returns sums of what is before each of P periods, and of all: float64 with P + 1 along the axis."""
    sums = np.cumsum(of_periods, axis=axis, dtype=np.float64)
    return np.insert(sums, 0, 0.0, axis=axis)
