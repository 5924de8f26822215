"""Dropout: what it drops, how much, from which seed, and that the random numbers are as even as they claim."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import Dropout

ONES = np.ones((101, 103), "float32")


def _dropped(rate: float, inputs: Any = ONES, seed: int = 1) -> np.ndarray:
    return np.asarray(Dropout(rate, seed)(inputs, training=True))


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_units_are_zero_or_scaled_and_the_mean_stays(rate: float) -> None:
    found = _dropped(rate)
    kept = 1 - round(rate * 256) / 256
    assert set(np.unique(found)) == {0.0, np.float32(1 / kept)}
    assert (found == 0).mean() == pytest.approx(1 - kept, abs=4 * np.sqrt(kept * (1 - kept) / found.size))


def test_neighbors_rows_and_calls_are_dropped_independently() -> None:
    layer = Dropout(0.5, seed=7)
    first, second = (np.asarray(layer(ONES, training=True)) > 0 for _ in range(2))
    limit = 4 / np.sqrt(ONES.size)
    pairs = [(first, second), (first, np.roll(first, 103)), *((first, np.roll(first, by)) for by in (1, 2, 3, 4, 5, 8))]
    for a, b in pairs:
        assert abs(np.mean((a == b).astype(float)) - 0.5) < limit


def test_seeds_beside_each_other_drop_other_units() -> None:
    limit = 4 / np.sqrt(ONES.size)
    masks = [_dropped(0.5, seed=seed) > 0 for seed in range(4)]
    for a, b in itertools.combinations(masks, 2):
        assert abs(np.mean((a == b).astype(float)) - 0.5) < limit
    layer = Dropout(0.5, seed=1)
    first, second = (np.asarray(layer(ONES, training=True)).ravel() > 0 for _ in range(2))
    for by in (-4, 4):
        assert abs(np.mean((first == np.roll(second, by)).astype(float)) - 0.5) < limit


def test_outside_of_training_nothing_changes() -> None:
    layer = Dropout(0.5)
    np.testing.assert_array_equal(np.asarray(layer(ONES)), ONES)
    np.testing.assert_array_equal(np.asarray(layer(ONES, training=False)), ONES)


def test_a_rate_that_rounds_to_nothing_or_to_all() -> None:
    np.testing.assert_array_equal(_dropped(0.001), ONES)
    np.testing.assert_array_equal(_dropped(0.999), 0 * ONES)
    assert Dropout(0.0).variables == []


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 0, 2), (2, 3, 7)])
def test_every_shape(shape: tuple[int, ...]) -> None:
    assert _dropped(0.5, np.ones(shape, "float32")).shape == shape


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_graph_of_open_sizes_draws_what_eager_draws(compiled: bool) -> None:
    layer = Dropout(0.3, seed=5)
    layer.build(ONES.shape)
    signature = [tf.TensorSpec([None, None], tf.float32)]
    traced: Any = tf.function(
        lambda inputs: layer(inputs, training=True), input_signature=signature, jit_compile=compiled
    )
    np.testing.assert_array_equal(np.asarray(traced(tf.constant(ONES))), _dropped(0.3, seed=5))


def test_the_gradient_passes_where_the_unit_does() -> None:
    inputs = tf.constant(ONES)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = Dropout(0.5, seed=3)(inputs, training=True)
    np.testing.assert_array_equal(np.asarray(tape.gradient(found, inputs)), np.asarray(found))


def test_the_program_s_seed_settles_a_layer_without_one() -> None:
    def draw(seed: int) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        return np.asarray(Dropout(0.5)(ONES, training=True))

    np.testing.assert_array_equal(draw(3), draw(3))
    assert (draw(3) != draw(4)).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=rf"rate must be at least 0 and below 1\. Received: rate={rate}\."):
        Dropout(rate)
