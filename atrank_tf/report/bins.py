"""Bins that are fixed before the data is seen, so that counting takes one pass and memory that no user adds to."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from atrank_tf.schema import LATEST, SECONDS, Time

DAY = SECONDS["day"]
LATEST_DAY = LATEST // DAY
"""2100-01-01, in days since 1970."""
MOST_DAYS = 366
"""Most bins of a series over time in the report: longer ones are summed to bins of several days."""


class Bins:
    """Bins by their lower ends; the last one is open.

    Args:
        lowest: lower ends, ascending. What lies below the first is not counted.
        labels: a name for each.
    """

    def __init__(self, lowest: Iterable[int], labels: Iterable[str]) -> None:
        self.lowest, self.labels = np.array(list(lowest), np.int64), list(labels)

    def __len__(self) -> int:
        return len(self.lowest)

    def index(self, values: np.ndarray) -> np.ndarray:
        """Returns the bin of each value, int64; -1 below the first."""
        return np.searchsorted(self.lowest, values, side="right").astype(np.int64) - 1

    def count(self, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Returns how many values lie in each bin, int64 [bins]; with weights (whole numbers), the sum of theirs."""
        indices = self.index(values)
        inside = indices >= 0
        counts = np.bincount(indices[inside], None if weights is None else weights[inside], len(self))
        return counts.astype(np.int64)


def _doubling(powers: int) -> Bins:
    lowest = [0, *(2**power for power in range(powers))]
    labels = ["0", "1", *(f"{2**power:,} to {2 ** (power + 1) - 1:,}" for power in range(1, powers - 1))]
    return Bins(lowest, [*labels, f"{lowest[-1]:,} or more"])


NUMBERS = _doubling(21)
"""Bins of counts: 0, 1, 2 to 3, 4 to 7 and so on, the last one from 2 ** 20."""


def gap_bins(time: Time) -> Bins:
    """Returns bins of seconds between two timestamps: none, less than a unit, and the buckets of the schema's [time].

    A bucket is named by its lower end.
    """
    seconds = SECONDS[time.unit]
    names = [f"{at // seconds:,} {time.unit}{'s' if at > seconds else ''}" for at in time.boundaries]
    if seconds == 1:  # Nothing lies between no time and a second.
        lowest, labels = [0, *time.boundaries], ["same moment", *names]
    else:
        lowest, labels = [0, 1, *time.boundaries], ["same moment", f"less than a {time.unit}", *names]
    return Bins(lowest, [*labels[:-1], f"{labels[-1]} or more"])


def days(timestamps: np.ndarray) -> np.ndarray:
    """Returns the day (UTC) of each timestamp (Unix seconds), in days since 1970; 2100 and later is `LATEST_DAY`."""
    return np.asarray(np.minimum(timestamps // DAY, LATEST_DAY))


def day_series(counts: np.ndarray) -> dict[str, Any]:
    """Returns counts of `days` from the first day with anything to the last, as JSON types.

    `first`, `last`: dates. `days`: days of a bin. `counts`: one for each bin, `MOST_DAYS` at most.
    """
    used = np.flatnonzero(counts)
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, -1)
    width = max(1, -(-(last - first + 1) // MOST_DAYS))
    starts = np.arange(first, last + 1, width)
    sums = np.add.reduceat(counts[: last + 1], starts) if len(starts) else np.zeros(0, np.int64)
    dates = (str(np.datetime64(day, "D")) for day in (first, max(first, last)))
    return dict(zip(("first", "last"), dates, strict=True)) | {"days": width, "counts": sums.tolist()}
