"""Scores by how often the candidate was chosen of late, by anyone."""

from typing import Any

import keras
import numpy as np
from keras import ops

from atrank_tf.layers.linear import linear

PRIOR = 0.1
"""Added to counts and to what is expected of them, so that an object that nobody chose has a share, too."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class PopularityHead(keras.layers.Layer):
    """Scores by how often the candidate was chosen of late, by anyone: its popularity at the moment of the request.

    Rough sketch:
        share_w(o, t) = (chosen_w(o, t) + 0.1) / (mean over objects of chosen_w(., t) + 0.1)
        logit(o, t) = v . gelu(W [log share_1, log share_2, log share_4, ...] + b)

    chosen_w(o, t) counts in the w periods before the one of t: nothing of that moment or later, so that training at t
    sees what a server would have known. Counts are weights that no training changes, so that they travel with the model
    into every file and export; they are 0, and the logits the same for all, until `load` fills them or a saved model is
    read. A request after the last period, as all of a server, sees them all.

    An item bias knows how popular an object is on the whole, and all that a network learns of an object's code stands
    still; but what many choose this month fewer choose the next.

    Args:
        objects: rows of the catalog, padding and unknown included.
        periods: P, periods that counts are kept of; a power of 2. Costs 4 P bytes per object.
        hidden: width of the hidden layer.

    Call arguments:
        candidates: int64 [..., N], catalog rows.
        now: int64 [...], Unix seconds.

    Returns:
        Logits, float [..., N].

    Raises:
        ValueError: an argument is not positive, or `periods` no power of 2.

    Reference:
        Popularity of the time before the request, as a baseline: Ji et al., "A Re-visit of the Popularity Baseline in
        Recommender Systems" (arXiv 2005.13829). As a learned logit, and in doubling windows: this package's.
    """

    def __init__(self, objects: int, periods: int, hidden: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if objects <= 0 or hidden <= 0:
            raise ValueError(f"objects and hidden must be positive. Received: objects={objects}, hidden={hidden}.")
        if periods <= 0 or periods & (periods - 1):
            raise ValueError(f"periods must be a power of 2. Received: periods={periods}.")
        self.objects, self.periods, self.hidden = objects, periods, hidden
        self._windows = _windows(periods)

    def build(self, *_: Any) -> None:
        known = {"initializer": "zeros", "trainable": False, "autocast": False}
        self.begins = self.add_weight(name="begins", shape=(self.periods,), dtype="int64", **known)
        self.counts = self.add_weight(name="counts", shape=(self.objects, self.periods), dtype="float32", **known)
        self.means = self.add_weight(name="means", shape=(self.periods,), dtype="float32", **known)
        self.kernel = self.add_weight(name="kernel", shape=(self._windows.shape[-1], self.hidden))
        self.bias = self.add_weight(name="bias", shape=(self.hidden,), initializer="zeros")
        self.out = self.add_weight(name="out", shape=(self.hidden, 1))

    def load(self, begins: np.ndarray, counts: np.ndarray) -> None:
        """Fills the counts.

        Args:
            begins: int64 [P], when period 1, 2, ... begins, in Unix seconds, ascending. What is before the first is
                period 0; from the last on, all counted periods are over.
            counts: [objects, P], at least 0.

        Raises:
            ValueError: a shape is not the layer's, or `begins` does not ascend.
        """
        if begins.shape != (self.periods,) or counts.shape != (self.objects, self.periods):
            raise ValueError(
                f"Expected begins of shape {(self.periods,)} and counts of shape {(self.objects, self.periods)}. "
                f"Received: {begins.shape} and {counts.shape}."
            )
        if (np.diff(begins) < 0).any():
            raise ValueError(f"Expected begins to ascend. Received: begins={begins.tolist()}.")
        self.begins.assign(begins)
        self.counts.assign(counts)
        self.means.assign(counts.mean(axis=0))

    def call(self, candidates: Any, now: Any) -> Any:
        period = ops.sum(ops.cast(ops.expand_dims(now, -1) >= self.begins, "int32"), axis=-1)  # [...]
        window = ops.take(ops.convert_to_tensor(self._windows), period, axis=0)  # [..., P, W]
        chosen = ops.matmul(ops.take(self.counts, candidates, axis=0), window)  # [..., N, W]
        expected = ops.matmul(ops.expand_dims(ops.convert_to_tensor(self.means), -2), window)  # [..., 1, W]
        share = ops.cast(ops.log(chosen + PRIOR) - ops.log(expected + PRIOR), self.compute_dtype)
        return ops.squeeze(linear(ops.gelu(linear(share, self.kernel) + self.bias), self.out), axis=-1)

    def compute_output_shape(self, candidates_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        return candidates_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"objects": self.objects, "periods": self.periods, "hidden": self.hidden}


def _windows(periods: int) -> np.ndarray:
    """Returns which periods are in the last 1, 2, 4, ..., P before each, float32 [P + 1, P, W]."""
    age = np.arange(periods + 1)[:, np.newaxis] - np.arange(periods)  # [now, period]; 1 for the one before.
    length = 1 << np.arange(periods.bit_length())
    return ((age[..., np.newaxis] >= 1) & (age[..., np.newaxis] <= length)).astype(np.float32)
