"""Values at indices: as tf.gather, with the same gradient."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import take

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(5, 3))


def test_without_indices_the_values_are_as_they_were() -> None:
    values = tf.constant(VALUES)
    assert take(values, None) is values


@pytest.mark.parametrize("indices", [[], [2], [[4, 0, 4], [4, 1, 0]], np.zeros((2, 0), int).tolist()])
def test_values_and_their_gradient_are_those_of_indexing(indices: Any) -> None:
    values, where = tf.constant(VALUES), np.array(indices, np.int32)
    target = RNG.normal(size=(*where.shape, 3))
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = take(values, tf.constant(where))
        total = tf.reduce_sum(found * target)
    np.testing.assert_array_equal(np.asarray(found), VALUES[where])
    expected = np.zeros_like(VALUES)
    np.add.at(expected, where.ravel(), target.reshape(-1, 3))
    gradient = tape.gradient(total, values)
    assert gradient.shape == VALUES.shape
    np.testing.assert_allclose(np.asarray(gradient), expected, rtol=1e-12, atol=1e-12)


def test_single_numbers_have_indices_too() -> None:
    values = tf.constant(VALUES[:, 0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = take(values, tf.constant([[4, 0], [4, 4]]))
    np.testing.assert_array_equal(np.asarray(found), VALUES[[[4, 0], [4, 4]], 0])
    np.testing.assert_array_equal(np.asarray(tape.gradient(found, values)), [1, 0, 0, 0, 3])


def test_sizes_may_be_open_in_a_graph() -> None:
    def gradient(values: Any, indices: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(take(values, indices) ** 2)
        return tape.gradient(total, values)

    signature = [tf.TensorSpec([None, 3], tf.float64), tf.TensorSpec([None, None], tf.int32)]
    traced: Any = tf.function(gradient, input_signature=signature)
    found = traced(tf.constant(VALUES), tf.constant([[1, 1], [3, 0]]))
    np.testing.assert_allclose(np.asarray(found), 2 * VALUES * np.array([[1], [2], [0], [1], [0]]), rtol=1e-12)
