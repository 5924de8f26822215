"""Convolutions in windows of 1, 2, ... behaviors, written out."""

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import WindowConvolution

B, T, D, WINDOWS = 2, 5, 12, 4
RNG = np.random.default_rng(0)
BEHAVIORS = RNG.normal(size=(B, T, D))
MASK = np.arange(T) < np.array([[5], [3]])


def _layer() -> WindowConvolution:
    layer = WindowConvolution(WINDOWS, dtype="float64")
    layer.build((B, T, D))
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    return layer


def test_each_window_stands_around_its_behavior_and_reads_zeros_beyond_the_ends() -> None:
    layer = _layer()
    found = np.asarray(layer(BEHAVIORS, MASK))
    real = BEHAVIORS * MASK[..., None]
    for size, convolution in enumerate(layer.convolutions, start=1):
        kernel, bias = (np.asarray(weight) for weight in convolution.weights)  # [size, D, D / W]
        before = (size - 1) // 2
        padded = np.pad(real, ((0, 0), (before, size - 1 - before), (0, 0)))
        windows = np.stack([padded[:, place : place + size] for place in range(T)], axis=1)
        expected = np.maximum(np.einsum("btsd,sdk->btk", windows, kernel) + bias, 0.0)
        own = slice((size - 1) * D // WINDOWS, size * D // WINDOWS)
        np.testing.assert_allclose(found[..., own], expected, rtol=1e-9, atol=1e-12)


def test_what_stands_in_padding_reaches_no_behavior() -> None:
    layer = _layer()
    expected = np.asarray(layer(BEHAVIORS, MASK))[MASK]
    dirty = np.where(MASK[..., None], BEHAVIORS, 1e6)
    np.testing.assert_allclose(np.asarray(layer(dirty, MASK))[MASK], expected, rtol=1e-9)
    longer = np.pad(dirty, ((0, 0), (0, 3), (0, 0)), constant_values=7.0)
    found = np.asarray(layer(longer, np.pad(MASK, ((0, 0), (0, 3)))))[:, :T][MASK]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"windows must be positive\. Received: windows=0"):
        WindowConvolution(0)
    with pytest.raises(ValueError, match=r"windows must divide the hidden dim 12\. Received: windows=5"):
        WindowConvolution(5).build((B, T, D))


@pytest.mark.parametrize("shape", [(0, 1), (0, 3), (2, 3)])
def test_every_number_of_users_in_a_graph(shape: tuple[int, int]) -> None:
    layer = WindowConvolution(4)
    layer.build((None, None, 8))
    open_sizes = [tf.TensorSpec([None, None, 8]), tf.TensorSpec([None, None], tf.bool)]
    convolve = tf.function(lambda behaviors, mask: layer(behaviors, mask), input_signature=open_sizes)
    assert convolve(tf.ones((*shape, 8)), tf.ones(shape, tf.bool)).shape == (*shape, 8)
