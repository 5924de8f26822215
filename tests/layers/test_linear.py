"""A linear map as one matrix product: the same numbers as one product for each row; vectors of unit size."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers.dense import flatten, linear, linear_concat, unit_rms

D, OUTPUT_DIM = 11, 13
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(D, OUTPUT_DIM))
SHAPES = [(D,), (7, D), (3, 5, D), (2, 3, 5, D), (3, 0, D), (0, 5, D)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_last_axis_is_multiplied_and_the_others_are_kept(shape: tuple[int, ...]) -> None:
    inputs = RNG.normal(size=shape)
    found = np.asarray(linear(tf.constant(inputs), tf.constant(KERNEL)))
    assert found.shape == (*shape[:-1], OUTPUT_DIM)
    expected = np.zeros(found.shape)
    for place in np.ndindex(shape[:-1]):
        expected[place] = inputs[place] @ KERNEL
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_flattened_rows_are_in_order(shape: tuple[int, ...]) -> None:
    inputs = RNG.normal(size=shape)
    np.testing.assert_array_equal(
        np.asarray(flatten(tf.constant(inputs))), inputs.reshape(np.prod(shape[:-1], dtype=int), D)
    )


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_sizes_may_be_open_in_a_graph(compiled: bool) -> None:
    signature = [tf.TensorSpec([None, None, D], tf.float64)]
    traced: Any = tf.function(lambda x: linear(x, tf.constant(KERNEL)), input_signature=signature, jit_compile=compiled)
    for shape in ((3, 5, D), (2, 0, D)):
        inputs = RNG.normal(size=shape)
        np.testing.assert_allclose(np.asarray(traced(tf.constant(inputs))), inputs @ KERNEL, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_the_matrix_product() -> None:
    inputs, kernel = tf.constant(RNG.normal(size=(3, 5, D))), tf.constant(KERNEL)
    target = RNG.normal(size=(3, 5, OUTPUT_DIM))
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        total = tf.reduce_sum(linear(inputs, kernel) * target)
    by_inputs, by_kernel = tape.gradient(total, [inputs, kernel])
    np.testing.assert_allclose(np.asarray(by_inputs), target @ KERNEL.T, rtol=1e-12, atol=1e-12)
    expected = np.einsum("btd,bte->de", np.asarray(inputs), target)
    np.testing.assert_allclose(np.asarray(by_kernel), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", [(11,), (2, 9), (5, 2, 4)])
def test_parts_are_multiplied_as_their_concatenation(sizes: tuple[int, ...]) -> None:
    parts = [RNG.normal(size=(3, 5, size)) for size in sizes]
    found = np.asarray(linear_concat([tf.constant(part) for part in parts], tf.constant(KERNEL)))
    np.testing.assert_allclose(found, np.concatenate(parts, axis=-1) @ KERNEL, rtol=1e-12, atol=1e-12)


def test_parts_that_are_left_out_at_the_end_count_as_zeros() -> None:
    part = RNG.normal(size=(3, 5, 4))
    found = np.asarray(linear_concat([tf.constant(part)], tf.constant(KERNEL)))
    np.testing.assert_allclose(found, part @ KERNEL[:4], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "size", "close"), [("float64", 1e-4, 1e-3), ("float32", 1e-4, 1e-3), ("float16", 300, 3e-3)]
)
def test_vectors_get_unit_size_in_every_dtype(dtype: str, size: float, close: float) -> None:
    inputs = RNG.normal(size=(3, 5, D))
    found = unit_rms(tf.cast(inputs * size, dtype))  # 300^2 is more than a float16 holds.
    assert found.dtype == dtype
    np.testing.assert_allclose((np.asarray(found, np.float64) ** 2).mean(-1), 1.0, rtol=close)
    np.testing.assert_allclose(found, inputs / np.sqrt((inputs**2).mean(-1, keepdims=True)), rtol=close, atol=1e-3)


def test_a_vector_of_zeros_stays_one_and_has_a_finite_gradient() -> None:
    zeros = tf.zeros((2, D))
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        found = unit_rms(zeros)
    np.testing.assert_array_equal(np.asarray(found), 0.0)
    assert np.isfinite(np.asarray(tape.gradient(found, zeros))).all()
