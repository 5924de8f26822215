"""The cross network, written out and against keras-rs."""

import keras_rs
import numpy as np
import pytest

from atrank_tf.layers import DCNHead

B, N, D, CONTEXT = 3, 7, 11, 2
RNG = np.random.default_rng(0)
USERS, CANDIDATES, CONTEXTS = (RNG.normal(size=(B, N, size)) for size in (D, D, CONTEXT))


@pytest.mark.parametrize("context", [True, False])
def test_logits_are_those_of_the_cross_layers(context: bool) -> None:
    inputs = [USERS, CANDIDATES, CONTEXTS] if context else [USERS, CANDIDATES]
    layer = DCNHead(3, dtype="float64")
    layer.build(*(value.shape for value in inputs))
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    start = state = oracle = np.concatenate(inputs, axis=-1)
    for cross in layer.cross:
        state = start * (state @ np.asarray(cross.kernel) + np.asarray(cross.bias)) + state
        theirs = keras_rs.layers.FeatureCross(dtype="float64")
        theirs(start, oracle)
        theirs.set_weights(cross.get_weights())
        oracle = np.asarray(theirs(start, oracle))
    np.testing.assert_allclose(oracle, state, rtol=1e-9)
    expected = state @ np.asarray(layer.last.kernel)[:, 0] + np.asarray(layer.last.bias)
    np.testing.assert_allclose(np.asarray(layer(*inputs)), expected, rtol=1e-9, atol=1e-12)


def test_a_logit_by_hand() -> None:
    layer = DCNHead(1)
    layer.build((1, 1, 1), (1, 1, 1))
    for weight, value in zip(
        layer.weights, ([[0.0, 1.0], [1.0, 0.0]], [0.0, 10.0], [[1.0], [100.0]], [0.5]), strict=True
    ):
        weight.assign(value)
    # x = (2, 3): (2 * 3 + 2, 3 * (2 + 10) + 3) = (8, 39).
    found = layer(np.array([[[2.0]]]), np.array([[[3.0]]]))
    np.testing.assert_allclose(np.asarray(found), [[8 + 3900 + 0.5]])


def test_no_cross_layers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_layers must be positive\. Received: num_layers=0"):
        DCNHead(0)
