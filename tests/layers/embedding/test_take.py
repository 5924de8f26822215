"""Rows at places: as tf.gather, with the same gradient."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import take

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(5, 3))


def test_without_places_the_rows_are_as_they_were() -> None:
    rows = tf.constant(ROWS)
    assert take(rows, None) is rows


@pytest.mark.parametrize("places", [[], [2], [[4, 0, 4], [4, 1, 0]], np.zeros((2, 0), int).tolist()])
def test_rows_and_their_gradient_are_those_of_indexing(places: Any) -> None:
    rows, where = tf.constant(ROWS), np.array(places, np.int32)
    target = RNG.normal(size=(*where.shape, 3))
    with tf.GradientTape() as tape:
        tape.watch(rows)
        found = take(rows, tf.constant(where))
        total = tf.reduce_sum(found * target)
    np.testing.assert_array_equal(np.asarray(found), ROWS[where])
    expected = np.zeros_like(ROWS)
    np.add.at(expected, where.ravel(), target.reshape(-1, 3))
    gradient = tape.gradient(total, rows)
    assert gradient.shape == ROWS.shape
    np.testing.assert_allclose(np.asarray(gradient), expected, rtol=1e-12, atol=1e-12)


def test_single_numbers_have_places_too() -> None:
    rows = tf.constant(ROWS[:, 0])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        found = take(rows, tf.constant([[4, 0], [4, 4]]))
    np.testing.assert_array_equal(np.asarray(found), ROWS[[[4, 0], [4, 4]], 0])
    np.testing.assert_array_equal(np.asarray(tape.gradient(found, rows)), [1, 0, 0, 0, 3])


def test_sizes_may_be_open_in_a_graph() -> None:
    def gradient(rows: Any, places: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            total = tf.reduce_sum(take(rows, places) ** 2)
        return tape.gradient(total, rows)

    signature = [tf.TensorSpec([None, 3], tf.float64), tf.TensorSpec([None, None], tf.int32)]
    traced: Any = tf.function(gradient, input_signature=signature)
    found = traced(tf.constant(ROWS), tf.constant([[1, 1], [3, 0]]))
    np.testing.assert_allclose(np.asarray(found), 2 * ROWS * np.array([[1], [2], [0], [1], [0]]), rtol=1e-12)
