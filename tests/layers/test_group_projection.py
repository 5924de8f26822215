"""The projection of a group to the hidden dim against f(u W + b)."""

from collections.abc import Callable

import numpy as np
import pytest

from atrank_tf.layers import GroupProjection

B, T, OWN, HIDDEN_DIM = 3, 5, 11, 13
BEHAVIORS = np.random.default_rng(0).normal(size=(B, T, OWN))
ACTIVATIONS: dict[str | None, Callable[[np.ndarray], np.ndarray]] = {
    None: lambda x: x,
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
}


def _layer(activation: str | None) -> GroupProjection:
    layer = GroupProjection(HIDDEN_DIM, activation, dtype="float64")
    layer.build((B, T, OWN))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_output_is_that_of_the_equation(activation: str | None) -> None:
    layer = _layer(activation)
    weights = {weight.name: np.asarray(weight) for weight in layer.weights}
    assert {name: value.shape for name, value in weights.items()} == {
        "kernel": (OWN, HIDDEN_DIM),
        "bias": (HIDDEN_DIM,),
    }
    expected = ACTIVATIONS[activation](BEHAVIORS @ weights["kernel"] + weights["bias"])
    np.testing.assert_allclose(np.asarray(layer(BEHAVIORS)), expected, rtol=1e-9, atol=1e-12)


def test_a_new_layer_has_no_bias_yet() -> None:
    layer = GroupProjection(HIDDEN_DIM)
    np.testing.assert_array_equal(np.asarray(layer(np.zeros((B, T, OWN)))), 0.0)


def test_each_behavior_is_projected_by_itself() -> None:
    layer = _layer("tanh")
    whole = np.asarray(layer(BEHAVIORS))
    np.testing.assert_allclose(np.asarray(layer(BEHAVIORS[1:2, 3:4]))[0, 0], whole[1, 3], rtol=1e-12)
    dirty = np.where((np.arange(T) < 2)[:, None], BEHAVIORS, 1e6)
    np.testing.assert_array_equal(np.asarray(layer(dirty))[:, :2], whole[:, :2])


def test_no_behaviors_give_no_projections() -> None:
    assert _layer("relu")(BEHAVIORS[:, :0]).shape == (B, 0, HIDDEN_DIM)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="reluu"):
        GroupProjection(HIDDEN_DIM, "reluu")
