"""Calibration: how often candidates of a predicted probability are positive."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_EDGES = np.linspace(-16.0, 16.0, 257)
"""Logits at which candidates are divided before any is seen."""
_POINTS = 10
"""About how many points a calibration is told in."""


class CalibrationPoint(NamedTuple):
    """Candidates of about one predicted probability: its mean, the share that is positive, and how many there are."""

    predicted: float
    observed: float
    candidates: int


class Calibration:
    """Sums of candidates by predicted probability, while requests stream."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, len(_EDGES) + 1))

    def add(self, scores: NDArray[Any], positive: NDArray[np.bool_]) -> None:
        """Adds candidates.

        Args:
            scores: logits [M].
            positive: bool [M].
        """
        place = np.searchsorted(_EDGES, scores, side="right")
        probability = 1.0 / (1.0 + np.exp(-np.clip(scores.astype(np.float64), -700, 700)))
        for row, weights in enumerate((np.ones(len(scores)), probability, positive.astype(np.float64))):
            self._sums[row] += np.bincount(place, weights, len(_EDGES) + 1)

    def points(self) -> list[CalibrationPoint]:
        """Returns points by rising probability, each with about as many expected positives as the others."""
        expected = self._sums[1]
        share = (np.cumsum(expected) - expected / 2) / max(expected.sum(), 1e-300)
        group = np.minimum((share * _POINTS).astype(int), _POINTS - 1)
        count, predicted, observed = (np.bincount(group, row, _POINTS) for row in self._sums)
        return [
            CalibrationPoint(float(predicted[at] / count[at]), float(observed[at] / count[at]), int(count[at]))
            for at in np.flatnonzero(count)
        ]
