"""The ranking head against a DNN on [e; h; e * h; context; counts], written out."""

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import DNNHead

B, N, D, CONTEXT, C = 3, 7, 11, 2, 5
RNG = np.random.default_rng(0)
USERS, CANDIDATES, CONTEXTS, COUNTS = (RNG.normal(size=(B, N, size)) for size in (D, D, CONTEXT, C))


def _layer(hidden: tuple[int, ...], context: bool, counts: bool = False) -> DNNHead:
    layer = DNNHead(hidden, dtype="float64", name="ranking")
    layer.build((B, N, D), (B, N, D), (B, N, CONTEXT) if context else None, (B, N, C) if counts else None)
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


@pytest.mark.parametrize(("context", "counts"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("hidden", [(), (13,), (13, 5)])
def test_logits_are_those_of_the_network(hidden: tuple[int, ...], context: bool, counts: bool) -> None:
    layer = _layer(hidden, context, counts)
    weights = {weight.path.removeprefix("ranking/"): np.asarray(weight) for weight in layer.weights}
    known = {"context": CONTEXTS} if context else {}
    known |= {"counts": COUNTS} if counts else {}
    state = np.concatenate([USERS, CANDIDATES, USERS * CANDIDATES, *known.values()], axis=-1)
    for place, size in enumerate((*hidden, 1)):
        assert weights[f"dense_{place}/kernel"].shape == (state.shape[-1], size)
        state = state @ weights[f"dense_{place}/kernel"] + weights[f"dense_{place}/bias"]
        state = _silu(state) if place < len(hidden) else state
    assert len(weights) == 2 * len(hidden) + 2
    found = layer(USERS, CANDIDATES, **known)
    assert found.shape == (B, N)
    np.testing.assert_allclose(np.asarray(found), state[..., 0], rtol=1e-9, atol=1e-12)


def test_a_logit_by_hand() -> None:
    layer = DNNHead(())
    layer.build(*[(1, 1, 1)] * 4)
    layer.set_weights([np.array([[1000.0], [100.0], [10.0], [1.0], [0.1]]), np.array([-0.5])])
    found = layer(*(np.array([[[value]]]) for value in (2.0, 3.0, 7.0, 5.0)))
    np.testing.assert_allclose(np.asarray(found), [[1000 * 2 + 100 * 3 + 10 * (2 * 3) + 1 * 7 + 0.1 * 5 - 0.5]])


def test_the_gradient_of_counts_is_not_computed() -> None:
    layer = _layer((13,), True, True)
    specs = [tf.TensorSpec(value.shape, tf.float64) for value in (USERS, CANDIDATES, CONTEXTS, COUNTS)]

    def products(learned: int) -> int:
        def gradients(*inputs: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(inputs[:learned])
                loss = tf.reduce_sum(layer(*inputs))
            return tape.gradient(loss, [*inputs[:learned], *layer.trainable_weights])

        graph = tf.function(gradients, autograph=False).get_concrete_function(*specs).graph
        return sum(op.type == "MatMul" for op in graph.get_operations())

    assert products(3) == products(4) - 1


def test_logits_may_be_negative() -> None:
    assert (np.asarray(_layer((13, 5), True)(USERS, CANDIDATES, CONTEXTS)) < 0).any()
