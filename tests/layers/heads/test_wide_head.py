"""The linear model on inputs and their crosses, written out."""

import numpy as np
import pytest

from atrank_tf.layers import WideHead

B, N, D, CONTEXT = 3, 7, 11, 2
RNG = np.random.default_rng(0)
USERS, CANDIDATES, CONTEXTS = (RNG.normal(size=(B, N, size)) for size in (D, D, CONTEXT))


@pytest.mark.parametrize("context", [True, False])
def test_logits_are_linear_in_all_inputs_and_in_all_products_with_the_candidate(context: bool) -> None:
    inputs = [USERS, CANDIDATES, CONTEXTS] if context else [USERS, CANDIDATES]
    layer = WideHead(dtype="float64")
    layer.build(*(value.shape for value in inputs))
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    request = np.concatenate([USERS, CONTEXTS], axis=-1) if context else USERS
    kernel = np.asarray(layer.kernel)[:, 0]
    expected = np.concatenate([request, CANDIDATES], axis=-1) @ kernel + np.asarray(layer.bias)
    expected += np.einsum("bni,ij,bnj->bn", request, np.asarray(layer.cross), CANDIDATES)
    np.testing.assert_allclose(np.asarray(layer(*inputs)), expected, rtol=1e-9, atol=1e-12)


def test_a_logit_by_hand() -> None:
    layer = WideHead()
    layer.build((1, 1, 1), (1, 1, 1), (1, 1, 1))
    layer.kernel.assign([[1000.0], [100.0], [10.0]])  # Of user vector, context, candidate.
    layer.cross.assign([[1.0], [0.1]])  # Of the candidate with the user vector, with the context.
    layer.bias.assign(-0.5)
    found = layer(*(np.array([[[value]]]) for value in (2.0, 3.0, 7.0)))
    np.testing.assert_allclose(np.asarray(found), [[2000 + 700 + 30 + 2 * 3 + 0.1 * 7 * 3 - 0.5]])
