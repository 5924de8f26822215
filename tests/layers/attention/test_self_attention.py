"""The self-attention block against C = norm(S + attention(S, S)), out = F_self(C), 0 at padding."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import SelfAttention

B, T, K, SIZE, HIDDEN = 3, 5, 2, 11, 13
D = K * SIZE
MASK = np.arange(T) < np.array([[5], [2], [0]])
BEHAVIORS = np.random.default_rng(0).normal(size=(B, T, D))
ACTIVATIONS: dict[str | None, Callable[[np.ndarray], np.ndarray]] = {
    None: lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
}
FORMS = [(score, activation) for score in ("bilinear", "scaled_dot") for activation in ACTIVATIONS]


def _layer(score: str = "bilinear", activation: str | None = None, dropout: float = 0.0) -> SelfAttention:
    layer = SelfAttention(
        K,
        intermediate_dim=HIDDEN,
        score=score,
        activation=activation,
        dropout=dropout,
        dtype="float64",
        name="block",
    )
    layer.build((B, T, D))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.4)
    return layer


def _weights(layer: SelfAttention) -> dict[str, np.ndarray]:
    return {weight.path.removeprefix("block/"): np.asarray(weight) for weight in layer.weights}


def _norm(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def _unit(x: np.ndarray) -> np.ndarray:
    """Root mean square 1 along the last axis."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True))


def _block(layer: SelfAttention, behaviors: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sketch of the docstring for one user, over the real behaviors alone: [T, D], [K, T, T]."""
    weights, f = _weights(layer), ACTIVATIONS[layer.activation]
    inputs = behaviors[real]
    related, maps = np.zeros(inputs.shape), np.zeros((K, len(real), len(real)))
    for space in range(K):
        columns = slice(space * SIZE, (space + 1) * SIZE)
        queries = inputs @ weights["attention/query_kernel"][:, columns]
        if layer.score == "bilinear":
            queries, keys = queries @ weights["attention/score_kernel"][space], queries
        else:
            queries, keys = f(queries), f(inputs @ weights["attention/key_kernel"][:, columns])
        powers = np.exp(_unit(queries) @ _unit(keys).T / np.sqrt(SIZE))
        attention = powers / (np.exp(weights["attention/sink_score"][space]) + powers.sum(axis=1, keepdims=True))
        maps[space][np.ix_(real, real)] = attention
        related[:, columns] = attention @ f(inputs @ weights["attention/value_kernel"][:, columns])
    state = _norm(inputs + related, weights, "norm")
    inner = np.maximum(state @ weights["feed_forward/inner/kernel"] + weights["feed_forward/inner/bias"], 0.0)
    added = inner @ weights["feed_forward/outer/kernel"] + weights["feed_forward/outer/bias"]
    out = np.zeros(behaviors.shape)
    out[real] = _norm(state + added, weights, "feed_forward/norm")
    return out, maps


@pytest.mark.parametrize(("score", "activation"), FORMS)
def test_memory_and_weights_are_those_of_the_equations(score: str, activation: str | None) -> None:
    layer = _layer(score, activation)
    memory, weights = layer(BEHAVIORS, MASK, return_weights=True)
    assert weights.shape == (B, K, T, T)
    for user in range(B):
        expected, maps = _block(layer, BEHAVIORS[user], MASK[user])
        np.testing.assert_allclose(np.asarray(memory)[user], expected, rtol=1e-9, atol=1e-12)
        real = MASK[user]
        np.testing.assert_allclose(np.asarray(weights)[user][:, real], maps[:, real], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(np.asarray(layer(BEHAVIORS, MASK)), np.asarray(memory))


def test_no_weight_is_of_padding() -> None:
    weights = np.asarray(_layer()(BEHAVIORS, MASK, return_weights=True)[1])
    assert ((weights[:2].sum(-1) > 0) & (weights[:2].sum(-1) < 1)).all()  # The rest is the sink's.
    np.testing.assert_array_equal(weights * ~MASK[:, None, None, :], 0.0)


def test_padding_and_empty_rows_are_exactly_zero() -> None:
    memory = np.asarray(_layer()(BEHAVIORS, MASK))
    np.testing.assert_array_equal(memory[~MASK], 0.0)
    assert (memory[MASK] != 0).all()


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_garbage_in_padding_and_more_padding_change_nothing(score: str) -> None:
    layer = _layer(score)
    expected = np.asarray(layer(BEHAVIORS, MASK))
    dirty = np.where(MASK[:, :, None], BEHAVIORS, 1e6)
    np.testing.assert_array_equal(np.asarray(layer(dirty, MASK)), expected)
    longer = np.pad(dirty, ((0, 0), (0, 2), (0, 0)), constant_values=-1e6)
    found = np.asarray(layer(longer, np.pad(MASK, ((0, 0), (0, 2)))))
    np.testing.assert_allclose(found[:, :T], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found[:, T:], 0.0)


def test_behaviors_in_another_order_give_the_memory_in_that_order() -> None:
    layer, order = _layer(), np.random.default_rng(2).permutation(T)
    found = np.asarray(layer(BEHAVIORS[:, order], MASK[:, order]))
    np.testing.assert_allclose(found, np.asarray(layer(BEHAVIORS, MASK))[:, order], rtol=1e-9, atol=1e-12)


def test_no_behaviors_give_an_empty_memory() -> None:
    memory, weights = _layer()(BEHAVIORS[:, :0], MASK[:, :0], return_weights=True)
    assert memory.shape == (B, 0, D)
    assert weights.shape == (B, K, 0, 0)


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_gradients_are_finite_with_an_empty_row_and_garbage_in_padding(score: str) -> None:
    layer = _layer(score, "relu")
    behaviors = tf.constant(np.where(MASK[:, :, None], BEHAVIORS, 1e6))
    with tf.GradientTape() as tape:
        tape.watch(behaviors)
        total = tf.reduce_sum(layer(behaviors, MASK) ** 2)
    sources = [behaviors, *[weight.value for weight in layer.trainable_weights]]
    by_behaviors, *by_weights = tape.gradient(total, sources)
    for gradient in (by_behaviors, *by_weights):
        assert np.isfinite(np.asarray(gradient)).all()
    np.testing.assert_array_equal(np.asarray(by_behaviors)[~MASK], 0.0)


def test_dropout_drops_both_additions_in_training_only() -> None:
    keras.utils.set_random_seed(3)
    layer, whole = _layer(dropout=1 - 1e-6), _layer()
    np.testing.assert_array_equal(np.asarray(layer(BEHAVIORS, MASK)), np.asarray(whole(BEHAVIORS, MASK)))
    weights = _weights(layer)
    # With everything dropped, the residual connections are left.
    expected = _norm(_norm(BEHAVIORS, weights, "norm"), weights, "feed_forward/norm") * MASK[:, :, None]
    found = np.asarray(layer(BEHAVIORS, MASK, training=True))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_dropout_is_drawn_from_the_seed_and_anew_in_each_call() -> None:
    def draws(seed: int) -> tuple[Any, Any]:
        keras.utils.set_random_seed(seed)
        layer = _layer(dropout=0.3)
        first = np.asarray(layer(BEHAVIORS, MASK, training=True))
        return first, np.asarray(layer(BEHAVIORS, MASK, training=True))

    first, second = draws(5)
    np.testing.assert_array_equal(draws(5), (first, second))
    assert (first != second).any()
    assert (first != draws(6)[0]).any()


def test_an_unknown_score_and_spaces_that_do_not_divide_the_hidden_dim_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: score='cosine'\."):
        SelfAttention(K, intermediate_dim=HIDDEN, score="cosine")(BEHAVIORS, MASK)
    with pytest.raises(ValueError, match=r"num_spaces must divide the hidden dim 22\. Received: num_spaces=3\."):
        SelfAttention(3, intermediate_dim=HIDDEN)(BEHAVIORS, MASK)


@pytest.mark.parametrize(("score", "activation"), FORMS)
def test_a_new_block_returns_behaviors_normalized_and_can_learn_to_relate_them(
    score: str, activation: str | None
) -> None:
    block = SelfAttention(K, intermediate_dim=HIDDEN, score=score, activation=activation, dtype="float64")
    with tf.GradientTape() as tape:
        found = block(BEHAVIORS, MASK)
        loss = tf.reduce_sum(found * np.random.default_rng(2).normal(size=(B, T, D)))
    centered = BEHAVIORS - BEHAVIORS.mean(-1, keepdims=True)
    expected = centered / centered.std(-1, keepdims=True) * MASK[..., np.newaxis]
    np.testing.assert_allclose(found, expected, atol=0.05)
    learned = [block.attention.query_kernel, block.attention.value_kernel, block.feed_forward.outer.kernel]
    for gradient in tape.gradient(loss, [weight.value for weight in learned]):
        assert np.abs(gradient).max() > 0
