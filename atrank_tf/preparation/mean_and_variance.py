"""Mean and variance of numeric columns, gathered part by part."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from atrank_tf.schema import DenseFeature

_ROUNDING = 2.0**-40
"""How much of itself a mean in float64 may be off by."""


@dataclass(frozen=True)
class Moments:
    """Moments of the values seen so far.

    Args:
        count: number of values, missing ones left out.
        mean: their mean.
        squares: sum of their squared distances from the mean.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: pl.Series) -> "Moments":
        """Returns the moments of values; nulls are missing."""
        values = values.drop_nulls().rechunk()
        if not len(values):
            return cls()
        mean = float(values.mean())  # type: ignore[arg-type]
        return cls(count=len(values), mean=mean, squares=float(((values - mean) ** 2).sum()))

    def add(self, more: "Moments") -> "Moments":
        """Returns the moments of these values and of more."""
        if not more.count:
            return self
        count, distance = self.count + more.count, more.mean - self.mean
        # Chan, Golub and LeVeque: sums of squares alone would lose the variance of large values.
        return Moments(
            count=count,
            mean=self.mean + distance * more.count / count,
            squares=self.squares + more.squares + distance**2 * self.count * more.count / count,
        )

    @property
    def variance(self) -> float:
        """Variance, 1 where it is 0 or nothing is known: a constant column is only shifted.

        What rounding makes of 0 is 0: the mean of many times 0.1 is not quite 0.1.
        """
        variance = self.squares / max(1, self.count)
        return variance if variance > (_ROUNDING * self.mean) ** 2 else 1.0


def with_moments(dense: Mapping[str, DenseFeature], moments: Mapping[str, Moments]) -> dict[str, DenseFeature]:
    """Returns numeric features with their measured moments filled in; nothing is known of columns without."""
    found = {column: moments.get(column, Moments()) for column in dense}
    return {
        column: replace(feature, mean=found[column].mean, variance=found[column].variance)
        for column, feature in dense.items()
    }
