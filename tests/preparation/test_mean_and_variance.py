"""Mean and variance, gathered part by part."""

import polars as pl
import pytest

from atrank_tf.preparation.counting import MeanAndVariance


@pytest.mark.parametrize("parts", [[[1.0, 2.0, 4.0]], [[1.0], [2.0, 4.0]], [[1.0, None], [], [4.0, 2.0], [None]]])
def test_moments_do_not_depend_on_the_parts(parts):
    found = MeanAndVariance()
    for part in parts:
        found = found.add(MeanAndVariance.of(pl.Series(part, dtype=pl.Float64)))
    assert found.mean == pytest.approx(7 / 3)
    assert found.variance == pytest.approx(14 / 9)


def test_the_variance_of_large_values_is_not_lost():
    found = (
        MeanAndVariance()
        .add(MeanAndVariance.of(pl.Series([1e9, 1e9 + 1])))
        .add(MeanAndVariance.of(pl.Series([1e9 + 2])))
    )
    assert found.variance == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("values", "mean"), [([], 0.0), ([None], 0.0), ([3.0, 3.0], 3.0), ([0.0, 0.0], 0.0), ([0.1] * 1_000, 0.1)]
)
def test_the_variance_is_1_where_there_is_none(values, mean):
    found = MeanAndVariance.of(pl.Series(values, dtype=pl.Float64)).add(
        MeanAndVariance.of(pl.Series(values[:7], dtype=pl.Float64))
    )
    assert (found.mean, found.variance) == (pytest.approx(mean), 1.0)
