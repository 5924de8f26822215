"""Numeric columns on a common scale; a missing value is the mean."""

from typing import Any

import numpy as np
import pytest

from atrank_tf.layers import CountNormalization, Standardize

B, N, F = 3, 5, 2
MEANS, VARIANCES = (3.0, -7.0), (4.0, 0.25)
RNG = np.random.default_rng(0)
COLUMNS = [RNG.normal(size=(B, N)), RNG.normal(size=(B, N))]


def _scaled(columns: list[np.ndarray], dtype: str = "float64") -> np.ndarray:
    return np.asarray(Standardize(MEANS, VARIANCES, dtype=dtype)(columns))


def test_values_by_hand() -> None:
    found = _scaled([np.array([3.0, 7.0]), np.array([-6.0, -8.0])])
    np.testing.assert_allclose(found, [[0.0, 2.0], [2.0, -2.0]])


@pytest.mark.parametrize("shape", [(B,), (B, N), (2, 3, 5), (B, 0)])
def test_each_column_loses_its_mean_and_its_scale(shape: tuple[int, ...]) -> None:
    columns = [np.random.default_rng(seed).normal(size=shape) for seed in range(F)]
    expected = np.stack([(c - m) / np.sqrt(v) for c, m, v in zip(columns, MEANS, VARIANCES, strict=True)], axis=-1)
    found = _scaled(columns)
    assert found.shape == (*shape, F)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_column_standardized_by_its_own_moments_has_mean_zero_and_variance_one() -> None:
    layer = Standardize([c.mean() for c in COLUMNS], [c.var() for c in COLUMNS], dtype="float64")
    found = np.asarray(layer(COLUMNS)).reshape(-1, F)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(found.var(axis=0), 1.0, rtol=1e-6)


def test_a_missing_value_becomes_exactly_zero_and_touches_no_other() -> None:
    missing = RNG.random((B, N)) < 0.5
    found = _scaled([np.where(missing, np.nan, COLUMNS[0]), COLUMNS[1]])
    np.testing.assert_array_equal(found[..., 0][missing], 0.0)
    whole = _scaled(COLUMNS)
    np.testing.assert_array_equal(found[..., 0][~missing], whole[..., 0][~missing])
    np.testing.assert_array_equal(found[..., 1], whole[..., 1])


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_what_is_far_away_or_infinite_stays_finite(dtype: str) -> None:
    column = np.array([np.inf, -np.inf, 3e38, -3e38, 20_001.0, np.nan], "float32")
    found = np.asarray(Standardize((1.0,), (4.0,), dtype=dtype)([column])).astype("float32")[:, 0]
    np.testing.assert_allclose(found, [1e4, -1e4, 1e4, -1e4, 1e4, 0.0], rtol=5e-3)


def test_no_value_that_the_moments_were_measured_on_is_cut() -> None:
    column = np.zeros(10_000, "float32")
    column[7] = 1e30
    found = np.asarray(Standardize([column.mean()], [column.astype(float).var()])([column]))
    assert found[7, 0] == pytest.approx(np.sqrt(9_999), rel=1e-3)


def test_a_column_of_one_value_only_is_shifted_not_scaled() -> None:
    found = Standardize((2.0,), (0.0,))([np.array([2.0, 5.0], "float32")])
    np.testing.assert_array_equal(np.asarray(found), [[0.0], [3.0]])


def test_half_precision_loses_nothing_before_the_mean_is_taken_off() -> None:
    found = Standardize((1000.0,), (1.0,), dtype="mixed_bfloat16")([np.array([1001.0, 999.5], "float32")])
    assert found.dtype == "bfloat16"
    np.testing.assert_array_equal(np.asarray(found).astype("float32"), [[1.0], [-0.5]])


def test_means_and_variances_may_come_from_a_file() -> None:
    layer = Standardize.from_config({**Standardize([3], [4]).get_config(), "means": [3], "variances": [4]})
    assert (layer.means, layer.variances) == ((3.0,), (4.0,))


def test_another_number_of_variances_than_of_means_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected as many variances as means\. Received: 1 and 2\."):
        Standardize((1.0, 2.0), (1.0,))


def test_logarithmic_columns_by_hand() -> None:
    layer = Standardize([1.0, 2.0], [4.0, 1.0], [True, False], dtype="float64")
    found = np.asarray(layer([np.array([np.e**5 - 1, 1 - np.e, np.nan, np.inf]), np.array([3.0, 2.0, 1.0, 0.0])]))
    np.testing.assert_allclose(found, [[2.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [1e4, -2.0]])
    same = Standardize.from_config(layer.get_config())
    np.testing.assert_array_equal(same([np.ones(2), np.ones(2)]), layer([np.ones(2), np.ones(2)]))


def test_not_as_many_logarithmic_as_columns() -> None:
    with pytest.raises(ValueError, match=r"Expected as many logarithmic as means\. Received: 1 and 2\."):
        Standardize([1.0, 2.0], [1.0, 1.0], [True])


def test_counts_have_one_scale_once_it_is_measured():
    layer = CountNormalization()
    numbers = np.float32([[1.0, 7.0, 0.0], [3.0, 7.0, 0.02]])
    np.testing.assert_allclose(layer(numbers), _clipped(numbers), rtol=1e-5)
    layer.adapt(numbers)  # Means 2, 7 and 0.01; deviations 1, 0 and 0.01, of which none counts as less than 0.1.
    np.testing.assert_allclose(layer(numbers), _clipped([[-1.0, 0.0, -0.1], [1.0, 0.0, 0.1]]), rtol=1e-5)
    np.testing.assert_allclose(layer(numbers + 10), _clipped([[9.0, 100.0, 99.9], [11.0, 100.0, 100.1]]), rtol=1e-5)


def test_what_is_far_on_the_scale_of_counts_ends_in_its_order():
    layer = CountNormalization()
    found = np.asarray(layer(np.float32([[-1e9], [-40.0], [-10.0], [-0.1], [0.0], [0.1], [10.0], [40.0], [1e9]])))[:, 0]
    np.testing.assert_allclose(found, -found[::-1])
    assert (np.diff(found[1:-1]) > 0).all()
    np.testing.assert_allclose(found[4:7], [0.0, 0.1, 10 / np.sqrt(2)], rtol=1e-3)


def test_large_counts_keep_their_differences_in_half_precision():
    layer = CountNormalization(dtype="mixed_bfloat16")
    layer.build((None, 1))
    layer.adapt(np.array([[999.0], [1001.0]]))
    found = layer(np.float32([[1000.5], [1000.0]]))
    assert found.dtype == "bfloat16"
    np.testing.assert_allclose(np.asarray(found, np.float32), _clipped([[0.5], [0.0]]), rtol=2**-8)


def _clipped(deviations: Any) -> np.ndarray:
    return np.asarray(deviations) / np.sqrt(1 + (np.asarray(deviations) / 10) ** 2)
