"""Mean and variance of numeric columns, gathered part by part."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from atrank_tf.schema import DenseFeature


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

    def add(self, values: pl.Series) -> "Moments":
        """Returns the moments with more values; nulls are missing."""
        values = values.drop_nulls()
        added = len(values)
        if not added:
            return self
        mean = float(values.mean())  # type: ignore[arg-type]
        squares = float(((values - mean) ** 2).sum())
        count, distance = self.count + added, mean - self.mean
        # Chan, Golub and LeVeque: sums of squares alone would lose the variance of large values.
        return Moments(
            count=count,
            mean=self.mean + distance * added / count,
            squares=self.squares + squares + distance**2 * self.count * added / count,
        )

    @property
    def variance(self) -> float:
        """Variance, 1 where it is 0 or nothing is known: a constant column is only shifted."""
        return self.squares / self.count if self.squares > 0 else 1.0


def with_moments(dense: Mapping[str, DenseFeature], moments: Mapping[str, Moments]) -> dict[str, DenseFeature]:
    """Returns numeric features with their measured moments filled in."""
    return {
        column: replace(feature, mean=moments[column].mean, variance=moments[column].variance)
        for column, feature in dense.items()
    }
