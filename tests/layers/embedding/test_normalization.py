"""Counted numbers on a common scale, by loaded statistics."""

import keras
import numpy as np
import pytest

from atrank_tf.layers import Normalization

NUMBERS = np.random.default_rng(0).normal([3.0, -7.0, 0.1], [2.0, 0.5, 0.9], size=(4, 5, 3))


def _layer(mean: object, variance: object, dtype: str = "float32") -> Normalization:
    layer = Normalization(dtype=dtype)
    layer.build((None, None, len(np.asarray(mean))))
    layer.load(np.asarray(mean), np.asarray(variance))
    return layer


def test_values_by_hand() -> None:
    found = _layer([3.0, -7.0], [4.0, 0.25])(np.array([[3.0, -6.0], [7.0, -8.0]]))
    np.testing.assert_allclose(found, [[0.0, 2.0], [2.0, -2.0]])


def test_numbers_have_mean_zero_and_variance_one_by_their_own_statistics() -> None:
    rows = NUMBERS.reshape(-1, 3)
    found = np.asarray(_layer(rows.mean(axis=0), rows.var(axis=0))(NUMBERS)).reshape(-1, 3)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), 1.0, atol=1e-4)


def test_what_hardly_varies_is_made_four_times_as_large_at_most() -> None:
    found = _layer([0.1], [0.01])(np.array([[0.0], [1.1]]))
    np.testing.assert_allclose(found, [[-0.4], [4.0]], rtol=1e-6)


def test_until_they_are_loaded_numbers_stay_as_they_are() -> None:
    found = Normalization()(np.array([[0.5, -7.5, 9.0]]))
    np.testing.assert_array_equal(found, [[0.5, -7.5, 8.0]])


def test_a_number_that_does_not_vary_in_training_says_nothing() -> None:
    found = _layer([0.0, 2.0], [0.0, 1.0])(np.array([[5.0, 3.0], [np.float32(3e38), 2.0]]))
    np.testing.assert_array_equal(found, [[0.0, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_what_is_far_away_ends_at_eight(dtype: str) -> None:
    found = _layer([1.0], [4.0], dtype)(np.array([[np.inf], [-3e38], [17.0], [1001.0]], "float32"))
    np.testing.assert_array_equal(np.asarray(found).astype("float32"), [[8.0], [-8.0], [8.0], [8.0]])


def test_half_precision_loses_nothing_before_the_mean_is_taken_off() -> None:
    found = _layer([1000.0], [1.0], "mixed_bfloat16")(np.array([[1001.0], [999.5]], "float32"))
    assert found.dtype == "bfloat16"
    np.testing.assert_array_equal(np.asarray(found).astype("float32"), [[1.0], [-0.5]])


def test_statistics_travel_with_a_saved_model(tmp_path: object) -> None:
    inputs = keras.Input((None, 2))
    layer = Normalization()
    model = keras.Model(inputs, layer(inputs))
    layer.load(np.array([1.0, 2.0]), np.array([4.0, 9.0]))
    model.save(f"{tmp_path}/model.keras")
    loaded = keras.saving.load_model(f"{tmp_path}/model.keras")
    np.testing.assert_array_equal(loaded(np.ones((1, 1, 2))), model(np.ones((1, 1, 2))))
    assert not loaded.trainable_weights


def test_statistics_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected mean and variance of shape \(3,\)\. Received: \(2,\) and \(3,\)"):
        _layer([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]).load(np.zeros(2), np.ones(3))
