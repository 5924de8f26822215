"""The activation unit, written out."""

import numpy as np
import pytest

from atrank_tf.layers import ActivationUnit

B, N, T, D = 3, 7, 5, 11
RNG = np.random.default_rng(0)
CANDIDATES, MEMORY = RNG.normal(size=(B, N, D)), RNG.normal(size=(B, T, D))
MASK = np.arange(T) < np.array([[5], [2], [0]])


@pytest.mark.parametrize("hidden_units", [(13,), (13, 5)])
def test_behaviors_are_summed_by_the_weight_of_the_network(hidden_units: tuple[int, ...]) -> None:
    layer = ActivationUnit(hidden_units, dtype="float64")
    layer.build((B, N, D))
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    expected = np.zeros((B, N, D))
    for user in range(B):
        for place in range(N):
            for behavior in MEMORY[user, MASK[user]]:
                h, e = (x / np.sqrt((x**2).mean()) for x in (CANDIDATES[user, place], behavior))
                state = np.concatenate([h, e, h - e, h * e])
                for number, dense in enumerate(layer.dense):
                    state = state @ np.asarray(dense.kernel) + np.asarray(dense.bias)
                    state = np.maximum(state, 0) if number < len(hidden_units) else state
                expected[user, place] += state[0] * behavior
    np.testing.assert_allclose(np.asarray(layer(CANDIDATES, MEMORY, MASK)), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(expected[2], 0.0)


def test_weights_are_not_normalized() -> None:
    layer = ActivationUnit((3,))
    once = np.asarray(layer(CANDIDATES, MEMORY, MASK))
    twice = np.asarray(layer(CANDIDATES, np.tile(MEMORY, (1, 2, 1)), np.tile(MASK, (1, 2))))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hidden_units", [(), (3, 0)])
def test_impossible_units_are_refused(hidden_units: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected positive hidden_units\. Received: hidden_units="):
        ActivationUnit(hidden_units)
