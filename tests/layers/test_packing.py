"""Packed rows are those of a boolean index, with its gradient, both ways."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import NoPadding, Packing

RNG = np.random.default_rng(0)
VALUES, OTHERS = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 4))
MASKS = {
    "some": np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool),
    "none": np.zeros((3, 4), bool),
    "all": np.ones((3, 4), bool),
}


@pytest.mark.parametrize("values", [VALUES, OTHERS, (100 * OTHERS).astype(np.int64)])
@pytest.mark.parametrize("name", MASKS)
def test_what_is_packed_is_what_is_real_and_comes_back_with_zeros_around_it(name: str, values: np.ndarray) -> None:
    mask = MASKS[name]
    packing = Packing.of(tf.constant(mask))
    packed = packing.pack(tf.constant(values))
    np.testing.assert_array_equal(np.asarray(packed), values[mask])
    back = np.asarray(packing.unpack(packed))
    np.testing.assert_array_equal(back[mask], values[mask])
    assert back.shape == values.shape and not back[~mask].any()


def test_values_may_stand_in_any_order() -> None:
    packing = Packing(tf.constant([5, 0, 3], tf.int64), tf.constant([2, 3]))
    rows = tf.constant([[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(np.asarray(packing.unpack(rows))[..., 0], [[2, 0, 0], [3, 0, 1]])
    np.testing.assert_array_equal(np.asarray(packing.pack(packing.unpack(rows))), rows)


def test_what_has_no_padding_is_reshaped() -> None:
    without_padding = NoPadding(tf.constant([3, 4]))
    np.testing.assert_array_equal(np.asarray(without_padding.pack(tf.constant(VALUES))), VALUES.reshape(12, 2))
    np.testing.assert_array_equal(np.asarray(without_padding.unpack(without_padding.pack(tf.constant(VALUES)))), VALUES)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("traced", [False, True])
def test_gradients_go_where_the_values_came_from(name: str, traced: bool) -> None:
    mask = MASKS[name]
    upstream = RNG.normal(size=(int(mask.sum()), 2))

    def gradients(values: Any, rows: Any, mask: Any) -> Any:
        packing = Packing.of(mask)
        with tf.GradientTape() as tape:
            tape.watch((values, rows))
            total = tf.reduce_sum(packing.pack(values) * upstream) + tf.reduce_sum(packing.unpack(rows) * VALUES)
        return tape.gradient(total, (values, rows))

    if traced:
        signature = [tf.TensorSpec(shape, dtype) for shape, dtype in OPEN]
        gradients = tf.function(gradients, input_signature=signature)
    of_values, of_rows = gradients(tf.constant(VALUES), tf.constant(upstream), tf.constant(mask))
    expected = np.zeros_like(VALUES)
    expected[mask] = upstream
    np.testing.assert_array_equal(np.asarray(of_values), expected)
    np.testing.assert_array_equal(np.asarray(of_rows), VALUES[mask])


OPEN = [([None, None, 2], tf.float64), ([None, 2], tf.float64), ([None, None], tf.bool)]
