"""The product-based network, written out; its products are those of keras-rs."""

import keras
import keras_rs
import numpy as np
import pytest

from atrank_tf.layers import PNNHead

B, N, D, CONTEXT = 3, 7, 11, 2
RNG = np.random.default_rng(0)
USERS, CANDIDATES, CONTEXTS = (RNG.normal(size=(B, N, size)) for size in (D, D, CONTEXT))


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("hidden", [(), (13, 5)])
def test_logits_are_those_of_a_network_on_fields_and_products(hidden: tuple[int, ...], context: bool) -> None:
    inputs = [USERS, CANDIDATES, CONTEXTS] if context else [USERS, CANDIDATES]
    layer = PNNHead(hidden, dtype="float64")
    layer.build(*(value.shape for value in inputs))
    for weight in layer.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    fields = [USERS, CANDIDATES, *([CONTEXTS @ np.asarray(layer.context_kernel)] if context else [])]
    fields = [field.reshape(-1, D) for field in fields]
    # keras-rs: (1, 0), (2, 0), (2, 1). Here: (0, 1), (0, 2), (1, 2), the same.
    products = np.asarray(keras_rs.layers.DotInteraction(dtype="float64")(fields)) / np.sqrt(D)
    state = np.concatenate([*fields, products], axis=-1)
    for place, dense in enumerate(layer.dense):
        state = state @ np.asarray(dense.kernel) + np.asarray(dense.bias)
        state = np.maximum(state, 0.0) if place < len(hidden) else state
    np.testing.assert_allclose(np.asarray(layer(*inputs)), state.reshape(B, N), rtol=1e-9, atol=1e-12)


def test_dropout_drops_hidden_units_in_training_only() -> None:
    keras.utils.set_random_seed(3)
    layer = PNNHead((13,), dropout=0.5)
    still = np.asarray(layer(USERS, CANDIDATES, CONTEXTS))
    np.testing.assert_array_equal(np.asarray(layer(USERS, CANDIDATES, CONTEXTS, training=False)), still)
    assert (np.asarray(layer(USERS, CANDIDATES, CONTEXTS, training=True)) != still).any()
