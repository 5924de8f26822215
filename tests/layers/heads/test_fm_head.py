"""The factorization machine, written out; its pairs are those of keras-rs."""

import keras_rs
import numpy as np
import pytest

from atrank_tf.layers import FMHead

B, N, D, CONTEXT = 3, 7, 11, 2
RNG = np.random.default_rng(0)
USERS, CANDIDATES, CONTEXTS = (RNG.normal(size=(B, N, size)) for size in (D, D, CONTEXT))


@pytest.mark.parametrize("context", [True, False])
def test_logits_are_a_linear_part_and_the_inner_products_of_the_fields(context: bool) -> None:
    inputs = [USERS, CANDIDATES, CONTEXTS] if context else [USERS, CANDIDATES]
    layer = FMHead(dtype="float64")
    layer.build(*(value.shape for value in inputs))
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    fields = [USERS, CANDIDATES, *([CONTEXTS @ np.asarray(layer.context_kernel)] if context else [])]
    pairs = keras_rs.layers.DotInteraction(dtype="float64")([field.reshape(-1, D) for field in fields])
    expected = np.concatenate(inputs, axis=-1) @ np.asarray(layer.kernel)[:, 0] + np.asarray(layer.bias)
    expected += np.asarray(pairs).sum(axis=-1).reshape(B, N) / np.sqrt(D)
    np.testing.assert_allclose(np.asarray(layer(*inputs)), expected, rtol=1e-9, atol=1e-12)


def test_a_logit_by_hand() -> None:
    layer = FMHead()
    layer.build((1, 1, 4), (1, 1, 4), (1, 1, 1))
    layer.kernel.assign(np.zeros((9, 1)))
    layer.context_kernel.assign([[1.0, 0.0, 0.0, 0.0]])
    layer.bias.assign(0.25)
    user, candidate, context = ([[[2.0, 1.0, 0.0, 0.0]]], [[[3.0, 1.0, 1.0, 0.0]]], [[[10.0]]])
    # Pairs: 2 * 3 + 1 * 1 = 7, 2 * 10 = 20, 3 * 10 = 30; by the square root of 4.
    found = layer(np.array(user), np.array(candidate), np.array(context))
    np.testing.assert_allclose(np.asarray(found), [[57 / 2 + 0.25]])
