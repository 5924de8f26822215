"""User vectors of candidates against the equations: what fits each, and how much fits; 0 for an empty memory."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import CandidateQueries, Packing, TargetAttention

B, T, N, K, SIZE, HIDDEN = 3, 5, 7, 2, 11, 13
D = K * SIZE
MASK = np.arange(T) < np.array([[5], [2], [0]])
RNG = np.random.default_rng(0)
CANDIDATES, MEMORY = RNG.normal(size=(B, N, D)), RNG.normal(size=(B, T, D))
ACTIVATIONS: dict[str | None, Callable[[np.ndarray], np.ndarray]] = {
    None: lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
}
FORMS = [(score, activation) for score in ("bilinear", "scaled_dot") for activation in ACTIVATIONS]


def _layer(score: str = "bilinear", activation: str | None = None) -> TargetAttention:
    layer = TargetAttention(
        K,
        intermediate_dim=HIDDEN,
        score=score,
        activation=activation,
        dtype="float64",
        name="target_attention",
    )
    layer.build((B, N, D), (B, T, D))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.4)
    return layer


def _weights(layer: TargetAttention) -> dict[str, np.ndarray]:
    return {weight.path.removeprefix("target_attention/"): np.asarray(weight) for weight in layer.weights}


def _norm(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * weights["feed_forward/norm/gamma"] + weights["feed_forward/norm/beta"]


def _unit(x: np.ndarray) -> np.ndarray:
    """Root mean square 1 along the last axis."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True))


def _attend(layer: TargetAttention, candidate: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, ...]:
    """Attention of one candidate [D] over the real behaviors [T, D] of one user: [D], weights [K, T], mass [K]."""
    weights, f = _weights(layer), ACTIVATIONS[layer.activation]
    parts, maps, masses = [], [], []
    for space in range(K):
        columns = slice(space * SIZE, (space + 1) * SIZE)
        query = candidate @ weights["attention/query_kernel"][:, columns]
        if layer.score == "bilinear":
            query = query @ weights["attention/score_kernel"][space]
            keys = memory @ weights["attention/query_kernel"][:, columns]
        else:
            query, keys = f(query), f(memory @ weights["attention/key_kernel"][:, columns])
        scores = _unit(keys) @ _unit(query) / np.sqrt(SIZE)
        mass = 1 + np.exp(scores - weights["attention/sink_score"][space]).sum()
        maps.append(np.exp(scores - weights["attention/sink_score"][space]) / mass)
        masses.append(np.log(mass))
        parts.append(maps[-1] @ f(memory @ weights["attention/value_kernel"][:, columns]))
    return np.concatenate(parts), np.stack(maps), np.array(masses)


def _expected(layer: TargetAttention) -> tuple[np.ndarray, np.ndarray]:
    weights = _weights(layer)
    out, maps = np.zeros((B, N, D)), np.zeros((B, K, N, T))
    for user, place in np.ndindex(B, N):
        real = MASK[user]
        if real.any():
            read, seen, mass = _attend(layer, CANDIDATES[user, place], MEMORY[user, real])
            maps[user, :, place, real] = seen.T  # NumPy puts the axis of a boolean index first.
            inner = np.maximum(read @ weights["feed_forward/inner/kernel"] + weights["feed_forward/inner/bias"], 0.0)
            added = inner @ weights["feed_forward/outer/kernel"] + weights["feed_forward/outer/bias"]
            out[user, place] = _norm(read + added, weights) + mass @ weights["mass_kernel"]
    return out, maps


@pytest.mark.parametrize(("score", "activation"), FORMS)
def test_vectors_and_weights_are_those_of_the_equations(score: str, activation: str | None) -> None:
    layer = _layer(score, activation)
    out, weights = layer(CANDIDATES, MEMORY, MASK, return_weights=True)
    expected, maps = _expected(layer)
    np.testing.assert_allclose(np.asarray(weights), maps, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.asarray(out), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(np.asarray(layer(CANDIDATES, MEMORY, MASK)), np.asarray(out))


def test_weights_are_those_of_behaviors_and_none_is_of_padding() -> None:
    weights = np.asarray(_layer()(CANDIDATES, MEMORY, MASK, return_weights=True)[1])
    assert weights.shape == (B, K, N, T)
    np.testing.assert_array_equal(weights * ~MASK[:, None, None, :], 0.0)


def test_of_two_equal_behaviors_the_same_is_read_and_twice_the_mass() -> None:
    layer, mask = _layer(), np.arange(T) < np.array([[1], [2]])
    layer.attention.sink_score.assign([-12.0, -12.0])  # Of hardly any weight: what is read is a mean of what is there.
    same = np.broadcast_to(MEMORY[:1, :1], (2, T, D))
    one, two = np.asarray(layer(np.broadcast_to(CANDIDATES[:1], (2, N, D)), same, mask))
    expected = np.log(2) * np.asarray(layer.mass_kernel).sum(axis=0)
    np.testing.assert_allclose(two - one, np.broadcast_to(expected, (N, D)), atol=1e-3)
    assert np.abs(expected).max() > 0.5


def test_6_an_empty_memory_gives_exactly_zero_in_spite_of_biases() -> None:
    out = np.asarray(_layer()(CANDIDATES, MEMORY, MASK))
    np.testing.assert_array_equal(out[2], 0.0)
    assert (out[:2] != 0).all()
    np.testing.assert_array_equal(np.asarray(_layer()(CANDIDATES, MEMORY[:, :0], MASK[:, :0])), np.zeros((B, N, D)))


def test_one_real_behavior_anywhere_makes_a_memory() -> None:
    mask = np.zeros((B, T), bool)
    mask[[0, 1, 2], [0, 2, 4]] = True
    assert (np.asarray(_layer()(CANDIDATES, MEMORY, mask)) != 0).all()


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_garbage_in_padding_and_more_padding_change_nothing(score: str) -> None:
    layer = _layer(score)
    expected = np.asarray(layer(CANDIDATES, MEMORY, MASK))
    dirty = np.where(MASK[:, :, None], MEMORY, 1e6)
    np.testing.assert_array_equal(np.asarray(layer(CANDIDATES, dirty, MASK)), expected)
    longer = np.pad(dirty, ((0, 0), (0, 2), (0, 0)), constant_values=-1e6)
    found = layer(CANDIDATES, longer, np.pad(MASK, ((0, 0), (0, 2))))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9, atol=1e-12)


def test_2_a_candidate_has_the_same_vector_whatever_stands_beside_it() -> None:
    layer = _layer()
    whole = np.asarray(layer(CANDIDATES, MEMORY, MASK))
    for place in (0, 4):
        alone = layer(CANDIDATES[:, place : place + 1], MEMORY, MASK)
        np.testing.assert_allclose(np.asarray(alone)[:, 0], whole[:, place], rtol=1e-9, atol=1e-12)


def test_no_candidates_give_no_vectors() -> None:
    out, weights = _layer()(CANDIDATES[:, :0], MEMORY, MASK, return_weights=True)
    assert out.shape == (B, 0, D)
    assert weights.shape == (B, K, 0, T)


@pytest.mark.parametrize("score", ["bilinear", "scaled_dot"])
def test_gradients_are_finite_with_an_empty_row_and_garbage_in_padding(score: str) -> None:
    layer = _layer(score, "relu")
    candidates, memory = tf.constant(CANDIDATES), tf.constant(np.where(MASK[:, :, None], MEMORY, 1e6))
    with tf.GradientTape() as tape:
        tape.watch([candidates, memory])
        total = tf.reduce_sum(layer(candidates, memory, MASK) ** 2)
    sources = [candidates, memory, *[weight.value for weight in layer.trainable_weights]]
    by_candidates, by_memory, *by_weights = tape.gradient(total, sources)
    for gradient in (by_candidates, by_memory, *by_weights):
        assert np.isfinite(np.asarray(gradient)).all()
    np.testing.assert_array_equal(np.asarray(by_candidates)[2], 0.0)
    np.testing.assert_array_equal(np.asarray(by_memory)[~MASK], 0.0)


def test_an_empty_row_moves_no_weight() -> None:
    layer = _layer()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(CANDIDATES[2:], MEMORY[2:], MASK[2:]) * 3.0)
    for gradient in tape.gradient(total, [weight.value for weight in layer.trainable_weights]):
        np.testing.assert_array_equal(np.asarray(gradient), 0.0)


def test_an_unknown_score_and_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: score='cosine'\."):
        TargetAttention(K, intermediate_dim=HIDDEN, score="cosine")(CANDIDATES, MEMORY, MASK)
    with pytest.raises(ValueError, match=r"num_spaces must divide the hidden dim 22\. Received: num_spaces=3\."):
        TargetAttention(3, intermediate_dim=HIDDEN)(CANDIDATES, MEMORY, MASK)
    with pytest.raises(ValueError, match=r"Expected query and memory of one dimension\. Received: 22 and 21\."):
        TargetAttention(K, intermediate_dim=HIDDEN)(CANDIDATES, MEMORY[..., 1:], MASK)


@pytest.mark.parametrize(("score", "activation"), FORMS)
def test_sets_of_candidates_attend_together_as_each_alone(score: str, activation: str | None) -> None:
    """Of two sets, with two requests of three candidates and three requests of one; some candidates are padding."""
    layer, rng = _layer(score, activation), np.random.default_rng(2)
    embeddings = rng.normal(size=(5, D))
    queries, expected = [], []
    for requests, number in ((2, 3), (3, 1)):
        seen = MASK[:, None] & (rng.random((B, requests, T)) < 0.7)
        bias = rng.normal(size=(B, K, requests, T))
        indices, real = rng.integers(0, 5, (B, requests * number)), rng.random((B, requests * number)) < 0.6
        queries.append(
            CandidateQueries(tf.constant(seen), tf.constant(bias), tf.constant(indices), Packing.of(tf.constant(real)))
        )
        alone = []
        for request in range(requests):
            of_request = embeddings[indices[:, request * number : (request + 1) * number]]
            alone.append(layer(of_request, MEMORY, seen[:, request], bias[:, :, request : request + 1]))
        expected.append(np.concatenate(alone, axis=1)[real])
        assert not seen.any(axis=2).all()  # Some requests see nothing.
    for found, alone in zip(
        layer.attend_packed(tf.constant(embeddings), tf.constant(MEMORY), queries), expected, strict=True
    ):
        assert found.shape == alone.shape
        np.testing.assert_allclose(np.asarray(found), alone, rtol=1e-9, atol=1e-12)
    assert sum(map(len, expected)) > 10
