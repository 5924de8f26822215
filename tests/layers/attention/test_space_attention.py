"""The attention in K spaces against its equations, written out space by space."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import SpaceAttention

B, T, N, K, SIZE = 3, 5, 7, 2, 11
D = K * SIZE
MASK = np.arange(T) < np.array([[5], [2], [0]])
RNG = np.random.default_rng(0)
QUERY, MEMORY = RNG.normal(size=(B, N, D)), RNG.normal(size=(B, T, D))
ACTIVATIONS: dict[str | None, Callable[[np.ndarray], np.ndarray]] = {
    None: lambda x: x,
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
}
FORMS = [(score, activation) for score in ("bilinear", "scaled_dot") for activation in ACTIVATIONS]


def _layer(score: str = "bilinear", activation: str | None = None, **kwargs: Any) -> SpaceAttention:
    layer = SpaceAttention(K, score=score, activation=activation, dtype="float64", **kwargs)
    layer.build((B, N, D), (B, T, D))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.4)
    return layer


def _unit(x: np.ndarray) -> np.ndarray:
    """Root mean square 1 along the last axis."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True))


def _attend(layer: SpaceAttention, query: np.ndarray, memory: np.ndarray, mask: np.ndarray) -> tuple[Any, Any]:
    """The sketch of the docstring, one user, space and query at a time."""
    kernels = {weight.name: np.asarray(weight) for weight in layer.weights}
    f = ACTIVATIONS[layer.get_config()["activation"]]
    out = np.zeros((len(query), query.shape[1], D))
    weights = np.zeros((len(query), K, query.shape[1], memory.shape[1] + 1))
    for user, space, place in np.ndindex(len(query), K, query.shape[1]):
        columns = slice(space * SIZE, (space + 1) * SIZE)
        asking = query[user, place] @ kernels["query_kernel"][:, columns]
        if layer.score == "bilinear":
            asking = asking @ kernels["score_kernel"][space]
            keys = memory[user] @ kernels["query_kernel"][:, columns]
        else:
            asking, keys = f(asking), f(memory[user] @ kernels["key_kernel"][:, columns])
        scores = _unit(keys) @ _unit(asking) / np.sqrt(SIZE)
        powers = np.append(np.exp(scores) * mask[user], np.exp(kernels["sink_score"][space]))
        weights[user, space, place] = powers / powers.sum()
        values = f(memory[user] @ kernels["value_kernel"][:, columns])
        out[user, place, columns] = weights[user, space, place, :-1] @ values
    return out, weights


@pytest.mark.parametrize(("score", "activation"), FORMS)
def test_output_and_weights_are_those_of_the_equations(score: str, activation: str | None) -> None:
    layer = _layer(score, activation)
    out, weights = layer(QUERY, MEMORY, MASK, return_weights=True)
    expected_out, expected_weights = _attend(layer, QUERY, MEMORY, MASK)
    np.testing.assert_allclose(np.asarray(weights), expected_weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.asarray(out), expected_out, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(np.asarray(layer(QUERY, MEMORY, MASK)), np.asarray(out))


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_views_attend_as_each_query_alone(score: str) -> None:
    """One view for each query, as in training on timelines."""
    layer, bias = _layer(score), RNG.normal(size=(B, K, N, T))
    views = layer(QUERY, MEMORY, np.repeat(MASK[:, None], N, axis=1), bias)
    for place in range(N):
        one = layer(QUERY[:, place : place + 1], MEMORY, MASK, bias[:, :, place : place + 1])
        np.testing.assert_allclose(np.asarray(views)[:, place : place + 1], np.asarray(one), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("score", "activation"), FORMS)
def test_a_memory_attends_to_itself_by_the_same_equations(score: str, activation: str | None) -> None:
    layer = _layer(score, activation)
    memory = tf.constant(MEMORY)
    out, weights = layer(memory, memory, MASK, return_weights=True)
    expected_out, expected_weights = _attend(layer, MEMORY, MEMORY, MASK)
    np.testing.assert_allclose(np.asarray(weights), expected_weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.asarray(out), expected_out, rtol=1e-9, atol=1e-12)


def test_one_space_of_two_dimensions_by_hand() -> None:
    layer = SpaceAttention(1)
    layer.build((1, 1, 2), (1, 3, 2))
    layer.set_weights([np.eye(2), np.eye(2)[np.newaxis], 10 * np.eye(2), np.log([3.0])])
    # Of unit size, (0, 5) is (0, sqrt(2)), (3, 0) is (sqrt(2), 0), (0, 7) is (0, sqrt(2)): scores 0 and 2 / sqrt(2).
    near, total = np.exp(np.sqrt(2.0)), 1 + np.exp(np.sqrt(2.0)) + 3
    memory, mask = np.array([[[3.0, 0.0], [0.0, 7.0], [1.0, 1.0]]]), np.array([[True, True, False]])
    out, weights = layer(np.array([[[0.0, 5.0]]]), memory, mask, return_weights=True)
    np.testing.assert_allclose(np.asarray(weights), [[[[1 / total, near / total, 0.0, 3 / total]]]], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(out), [[[30 / total, 70 * near / total]]], rtol=1e-6)


@pytest.mark.parametrize("spaces", [1, 4, 16])
@pytest.mark.parametrize(("score", "activation"), FORMS)
def test_scores_that_start_alike_find_what_is_alike(score: str, activation: str | None, spaces: int) -> None:
    """A vector's score with itself is about sqrt(8), or sqrt(d), if that is less; none is far above it."""
    keras.utils.set_random_seed(0)
    memory = RNG.normal(size=(1, 50, 64))
    layer = SpaceAttention(spaces, score=score, activation=activation, starts_alike=True, dtype="float64")
    weights = np.asarray(layer(memory, memory, np.ones((1, 50), bool), return_weights=True)[1])[0, ..., :-1]
    scores = np.log(weights) - np.log(weights).mean(-1, keepdims=True)
    own = np.diagonal(scores, axis1=1, axis2=2)
    if activation in (None, "linear"):
        assert own.mean() == pytest.approx(min(8, 64 / spaces) ** 0.5, rel=0.25)
    assert (weights.mean(0).argmax(-1) == np.arange(50)).mean() > (0.6 if activation in (None, "linear") else 0.3)
    assert np.abs(scores).max() < 6


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_other_scores_say_nothing_of_what_is_alike(score: str) -> None:
    layer = SpaceAttention(K, score=score, dtype="float64")
    memory = RNG.normal(size=(1, 200, D))
    weights = np.asarray(layer(memory, memory, np.ones((1, 200), bool), return_weights=True)[1])[0, ..., :-1]
    assert (weights.argmax(-1) == np.arange(200)).mean() < 0.3


@pytest.mark.parametrize("factor", [1e-4, 1e4])
@pytest.mark.parametrize(("score", "activation"), [("bilinear", None), ("scaled_dot", "relu")])
def test_the_size_of_query_and_memory_changes_no_weight(score: str, activation: str | None, factor: float) -> None:
    layer = _layer(score, activation)
    out, weights = layer(QUERY, MEMORY, MASK, return_weights=True)
    scaled, same = layer(QUERY / factor, MEMORY * factor, MASK, return_weights=True)
    np.testing.assert_allclose(np.asarray(same), np.asarray(weights), rtol=1e-3)
    np.testing.assert_allclose(np.asarray(scaled) / factor, np.asarray(out), rtol=1e-3, atol=1e-3)


def test_scores_have_a_bound_however_large_the_kernels_grow() -> None:
    layer = SpaceAttention(K, dtype="float64")
    layer.build((B, N, D), (B, T, D))
    layer.query_kernel.assign(layer.query_kernel * 1e3)
    weights = np.asarray(layer(QUERY, MEMORY, np.ones((B, T), bool), return_weights=True)[1])[..., :-1]
    assert np.ptp(np.log(weights), axis=-1).max() <= 2 * np.sqrt(SIZE)  # From -sqrt(d) to sqrt(d).


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_weights_are_nonnegative_and_sum_to_one_over_what_is_real_and_the_sink(score: str) -> None:
    weights = np.asarray(_layer(score)(QUERY, MEMORY, MASK, return_weights=True)[1])
    assert weights.shape == (B, K, N, T + 1)
    assert (weights >= 0).all() and (weights[..., -1] > 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(weights[..., :-1] * ~MASK[:, None, None, :], 0.0)


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_6_an_empty_memory_gives_exactly_zero(score: str) -> None:
    out = np.asarray(_layer(score)(QUERY, MEMORY, MASK))
    np.testing.assert_array_equal(out[2], 0.0)
    assert (out[:2] != 0).all()
    nothing, weights = _layer(score)(QUERY, MEMORY[:, :0], MASK[:, :0], return_weights=True)
    np.testing.assert_array_equal(np.asarray(nothing), np.zeros((B, N, D)))
    np.testing.assert_array_equal(np.asarray(weights), np.ones((B, K, N, 1)))


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_garbage_in_padding_and_more_padding_change_nothing(score: str) -> None:
    layer = _layer(score)
    expected = np.asarray(layer(QUERY, MEMORY, MASK))
    dirty = np.where(MASK[:, :, None], MEMORY, 1e6)
    np.testing.assert_array_equal(np.asarray(layer(QUERY, dirty, MASK)), expected)
    longer = np.pad(dirty, ((0, 0), (0, 6), (0, 0)), constant_values=-1e6)
    found = layer(QUERY, longer, np.pad(MASK, ((0, 0), (0, 6))))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12, atol=1e-12)


def test_the_order_of_the_memory_does_not_matter() -> None:
    layer, order = _layer(), RNG.permutation(T)
    found = np.asarray(layer(QUERY, MEMORY[:, order], MASK[:, order]))
    np.testing.assert_allclose(found, np.asarray(layer(QUERY, MEMORY, MASK)), rtol=1e-12, atol=1e-12)


def test_queries_and_users_do_not_see_each_other() -> None:
    layer = _layer()
    whole = np.asarray(layer(QUERY, MEMORY, MASK))
    for user, place in ((0, 3), (1, 6)):
        alone = layer(QUERY[user : user + 1, place : place + 1], MEMORY[user : user + 1], MASK[user : user + 1])
        np.testing.assert_allclose(np.asarray(alone)[0, 0], whole[user, place], rtol=1e-12)


def test_no_queries_give_no_output() -> None:
    out, weights = _layer()(QUERY[:, :0], MEMORY, MASK, return_weights=True)
    assert out.shape == (B, 0, D)
    assert weights.shape == (B, K, 0, T + 1)


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_gradients_are_finite_with_an_empty_row_and_garbage_in_padding(score: str) -> None:
    layer = _layer(score, "relu")
    query, memory = tf.constant(QUERY), tf.constant(np.where(MASK[:, :, None], MEMORY, 1e6))
    sources = [query, memory, *[weight.value for weight in layer.trainable_weights]]
    with tf.GradientTape() as tape:
        tape.watch([query, memory])
        total = tf.reduce_sum(layer(query, memory, MASK) ** 2)
    by_query, by_memory, *by_weights = tape.gradient(total, sources)
    for gradient in (by_query, by_memory, *by_weights):
        assert np.isfinite(np.asarray(gradient)).all()
    np.testing.assert_array_equal(np.asarray(by_query)[2], 0.0)
    np.testing.assert_array_equal(np.asarray(by_memory) * ~MASK[:, :, None], 0.0)


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_each_form_has_only_the_weights_that_it_uses(score: str) -> None:
    shapes = {weight.name: tuple(weight.shape) for weight in _layer(score).weights}
    own = {"score_kernel": (K, SIZE, SIZE)} if score == "bilinear" else {"key_kernel": (D, D)}
    assert shapes == {"query_kernel": (D, D), "value_kernel": (D, D), "sink_score": (K,)} | own


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(ValueError, match=r'Expected score="bilinear" or "scaled_dot"\. Received: score=\'cosine\'\.'):
        SpaceAttention(K, score="cosine")


def test_a_number_of_spaces_that_does_not_divide_the_hidden_dim_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_spaces must divide the hidden dim 22\. Received: num_spaces=3\."):
        SpaceAttention(3)(QUERY, MEMORY, MASK)


def test_a_memory_of_another_dimension_than_the_query_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected query and memory of one dimension\. Received: 22 and 21\."):
        SpaceAttention(K)(QUERY, MEMORY[..., 1:], MASK)
