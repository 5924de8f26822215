"""Mean and variance, gathered part by part."""

import polars as pl
import pytest

from atrank_tf.preparation.mean_and_variance import Moments


@pytest.mark.parametrize("parts", [[[1.0, 2.0, 4.0]], [[1.0], [2.0, 4.0]], [[1.0, None], [], [4.0, 2.0], [None]]])
def test_moments_do_not_depend_on_the_parts(parts):
    moments = Moments()
    for part in parts:
        moments = moments.add(Moments.of(pl.Series(part, dtype=pl.Float64)))
    assert moments.mean == pytest.approx(7 / 3)
    assert moments.variance == pytest.approx(14 / 9)


def test_the_variance_of_large_values_is_not_lost():
    moments = Moments().add(Moments.of(pl.Series([1e9, 1e9 + 1]))).add(Moments.of(pl.Series([1e9 + 2])))
    assert moments.variance == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("values", "mean"), [([], 0.0), ([None], 0.0), ([3.0, 3.0], 3.0), ([0.0, 0.0], 0.0), ([0.1] * 1_000, 0.1)]
)
def test_the_variance_is_1_where_there_is_none(values, mean):
    moments = Moments.of(pl.Series(values, dtype=pl.Float64)).add(Moments.of(pl.Series(values[:7], dtype=pl.Float64)))
    assert (moments.mean, moments.variance) == (pytest.approx(mean), 1.0)
