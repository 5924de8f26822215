"""Recent popularity of objects, as numbers."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from atrank_tf.types import Shape, Tensor

PRIOR = 0.1
"""Added to counts and to their mean, so that an object that nobody chose has a share, too."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class RecentPopularity(keras.layers.Layer):
    """Looks up how often all users chose an object in the last periods before the request.

    Rough sketch:
        share_w(o, t) = (chosen_w(o, t) + 0.1) / (mean over objects of chosen_w(., t) + 0.1)
        found(o, t) = [log share_1, log share_2, log share_4, ...]

    chosen_w(o, t) counts in the w periods before the one of t: nothing of that period or later, so that training at t
    sees what a server would have known. Counts are weights that no training changes, so that they travel with the model
    into every file and export; they are 0, and all that is found too, until `load` fills them or a saved model is
    read. A request after the last period, as all of a server, sees them all.

    An item bias knows how popular an object is on the whole, and all that a network learns of an object's embedding
    stands still; but what many choose this month fewer choose the next.

    Args:
        num_objects: rows of the catalog, padding and unknown included.
        num_periods: P, periods that counts are kept of; a power of 2. Costs 2 P bytes per object: a count is float16,
            so it is exact up to 2,048, within a 2,000th up to 65,504, and never more.

    Call arguments:
        candidates: int64 [..., N] or [..., N, V], objects, or the values of a feature that each has.
        now: int64 [...], Unix seconds.

    Returns:
        float [..., N, W] or [..., N, V, W] in the compute dtype, W = 1 + log2 P windows.

    Raises:
        ValueError: an argument is not positive, or `num_periods` no power of 2.

    Reference:
        Popularity of the time before the request, as a baseline: Ji et al., "A Re-visit of the Popularity Baseline in
        Recommender Systems" (arXiv 2005.13829). In doubling windows: this package's.
    """

    def __init__(self, num_objects: int, num_periods: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_objects <= 0:
            raise ValueError(f"num_objects must be positive. Received: num_objects={num_objects}.")
        if num_periods <= 0 or num_periods & (num_periods - 1):
            raise ValueError(f"num_periods must be a power of 2. Received: num_periods={num_periods}.")
        self.num_objects = num_objects
        self.num_periods = num_periods
        self._windows = _windows(num_periods)

    def build(self, *_: Any) -> None:
        known = {"initializer": "zeros", "trainable": False, "autocast": False}
        self.begins = self.add_weight(name="begins", shape=(self.num_periods,), dtype="int64", **known)
        self.counts = self.add_weight(
            name="counts", shape=(self.num_objects, self.num_periods), dtype="float16", **known
        )
        self.means = self.add_weight(name="means", shape=(self.num_periods,), dtype="float32", **known)

    def load(self, begins: np.ndarray, counts: np.ndarray) -> None:
        """Fills the counts.

        Args:
            begins: int64 [P], when period 1, 2, ... begins, in Unix seconds, ascending. What is before the first is
                period 0; from the last on, all counted periods are over.
            counts: [num_objects, P], at least 0.

        Raises:
            ValueError: a shape is not the layer's, or `begins` does not ascend.
        """
        if begins.shape != (self.num_periods,) or counts.shape != (self.num_objects, self.num_periods):
            raise ValueError(
                f"Expected begins of shape {(self.num_periods,)} and counts of shape "
                f"{(self.num_objects, self.num_periods)}. Received: {begins.shape} and {counts.shape}."
            )
        if (np.diff(begins) < 0).any():
            raise ValueError(f"Expected begins to ascend. Received: begins={begins.tolist()}.")
        self.begins.assign(begins)
        self.counts.assign(np.minimum(counts, np.finfo(np.float16).max).astype(np.float16))
        self.means.assign(counts.mean(axis=0))

    def call(self, candidates: Tensor, now: Tensor) -> Tensor:
        period = ops.sum(ops.cast(ops.expand_dims(now, -1) >= self.begins, "int32"), axis=-1)  # [...]
        window = tf.gather(self._windows, period)  # [..., P, W]
        for _ in range(len(candidates.shape) - len(now.shape) - 1):
            window = ops.expand_dims(window, -3)
        counts = ops.cast(tf.gather(self.counts.value, candidates), "float32")
        chosen = ops.matmul(counts, window)  # [..., N, W]
        expected = ops.matmul(ops.expand_dims(ops.convert_to_tensor(self.means), -2), window)  # [..., 1, W]
        return ops.cast(ops.log(chosen + PRIOR) - ops.log(expected + PRIOR), self.compute_dtype)

    def compute_output_shape(self, candidates_shape: Shape, *_: Any) -> Shape:
        return (*candidates_shape, self._windows.shape[-1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_objects": self.num_objects,
            "num_periods": self.num_periods,
        }


def _windows(periods: int) -> np.ndarray:
    """Returns which periods are in the last 1, 2, 4, ..., P before each, float32 [P + 1, P, W]."""
    age = np.arange(periods + 1)[:, np.newaxis] - np.arange(periods)  # [now, period]; 1 for the one before.
    length = 1 << np.arange(periods.bit_length())
    return ((age[..., np.newaxis] >= 1) & (age[..., np.newaxis] <= length)).astype(np.float32)
