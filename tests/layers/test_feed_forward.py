"""The feed-forward network against norm(x + W2 relu(W1 x))."""

import keras
import numpy as np
import pytest

from atrank_tf.layers import FeedForward

B, T, D, HIDDEN = 3, 5, 11, 13
INPUTS = np.random.default_rng(0).normal(size=(B, T, D))


def _layer(dropout: float = 0.0) -> FeedForward:
    layer = FeedForward(HIDDEN, dropout, dtype="float64", name="feed_forward")
    layer.build((None, None, D))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def _norm(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * weights["norm/gamma"] + weights["norm/beta"]


def _weights(layer: FeedForward) -> dict[str, np.ndarray]:
    return {weight.path.removeprefix("feed_forward/"): np.asarray(weight) for weight in layer.weights}


def _expected(layer: FeedForward, x: np.ndarray) -> np.ndarray:
    weights = _weights(layer)
    inner = np.maximum(x @ weights["inner/kernel"] + weights["inner/bias"], 0.0)
    return _norm(x + inner @ weights["outer/kernel"] + weights["outer/bias"], weights)


def test_output_is_that_of_the_equation() -> None:
    layer = _layer()
    np.testing.assert_allclose(np.asarray(layer(INPUTS)), _expected(layer, INPUTS), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(D,), (7, D), (2, 3, 5, D)])
def test_inputs_may_have_any_number_of_dimensions(shape: tuple[int, ...]) -> None:
    layer, inputs = _layer(), np.random.default_rng(2).normal(size=(1, *shape))
    np.testing.assert_allclose(np.asarray(layer(inputs)), _expected(layer, inputs), rtol=1e-9, atol=1e-12)


def test_the_layer_between_has_the_units_asked_for() -> None:
    shapes = {name: value.shape for name, value in _weights(_layer()).items()}
    assert shapes["inner/kernel"] == (D, HIDDEN)
    assert shapes["outer/kernel"] == (HIDDEN, D)


def test_no_rows_give_no_rows() -> None:
    assert _layer()(INPUTS[:, :0]).shape == (B, 0, D)


def test_training_without_dropout_changes_nothing() -> None:
    layer = _layer()
    np.testing.assert_array_equal(np.asarray(layer(INPUTS, training=True)), np.asarray(layer(INPUTS, training=False)))


def test_dropout_drops_what_is_added_in_training_only() -> None:
    keras.utils.set_random_seed(3)
    layer = _layer(dropout=1 - 1e-6)
    np.testing.assert_allclose(np.asarray(layer(INPUTS, training=False)), _expected(layer, INPUTS), rtol=1e-9)
    np.testing.assert_allclose(np.asarray(layer(INPUTS)), _expected(layer, INPUTS), rtol=1e-9)
    # With everything dropped, the residual connection is left.
    np.testing.assert_allclose(np.asarray(layer(INPUTS, training=True)), _norm(INPUTS, _weights(layer)), rtol=1e-9)


def test_dropout_is_drawn_from_the_seed_and_anew_in_each_call() -> None:
    def draws(seed: int) -> tuple[np.ndarray, np.ndarray]:
        keras.utils.set_random_seed(seed)
        layer = _layer(dropout=0.3)
        first = np.asarray(layer(INPUTS, training=True))
        return first, np.asarray(layer(INPUTS, training=True))

    first, second = draws(5)
    np.testing.assert_array_equal(draws(5), (first, second))
    assert (first != second).any()
    assert (first != draws(6)[0]).any()
