"""The embedding of a behavior against u = W object + action + time, in both ways to join them."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import BehaviorEmbedding

B, T, OBJECT_DIM, DIM, ACTIONS, BUCKETS = 3, 5, 11, 13, 7, 17
RNG = np.random.default_rng(0)
OBJECTS = RNG.normal(size=(B, T, OBJECT_DIM))
ACTED, BUCKET = RNG.integers(0, ACTIONS, (B, T)), RNG.integers(0, BUCKETS, (B, T))
FORMS = [(combine, embedding_dim) for combine in ("sum", "concat") for embedding_dim in (None, OBJECT_DIM, DIM)]


def _layer(combine: str, embedding_dim: int | None) -> BehaviorEmbedding:
    layer = BehaviorEmbedding(embedding_dim, ACTIONS, BUCKETS, combine, dtype="float64")
    layer.build((B, T, OBJECT_DIM))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def _weights(layer: BehaviorEmbedding) -> dict[str, np.ndarray]:
    return {weight.name: np.asarray(weight) for weight in layer.weights}


def _expected(layer: BehaviorEmbedding, objects: Any) -> np.ndarray:
    weights = _weights(layer)
    out = np.zeros((B, T, layer.embedding_dim or OBJECT_DIM))
    for place in np.ndindex(B, T):
        action, time = weights["action_table"][ACTED[place]], weights["time_table"][BUCKET[place]]
        if layer.combine == "concat":
            out[place] = np.concatenate([objects[place], action, time]) @ weights["kernel"]
        else:
            out[place] = objects[place] @ weights.get("kernel", np.eye(OBJECT_DIM)) + action + time
    return out


@pytest.mark.parametrize(("combine", "embedding_dim"), FORMS)
def test_the_embedding_is_that_of_the_equation(combine: str, embedding_dim: int | None) -> None:
    layer = _layer(combine, embedding_dim)
    found = np.asarray(layer(OBJECTS, ACTED, BUCKET))
    assert found.shape == (B, T, embedding_dim or OBJECT_DIM)
    np.testing.assert_allclose(found, _expected(layer, OBJECTS), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("combine", "embedding_dim"), FORMS)
def test_a_candidate_is_a_behavior_whose_action_and_time_are_zero(combine: str, embedding_dim: int | None) -> None:
    layer = _layer(combine, embedding_dim)
    found = np.asarray(layer(OBJECTS))
    for weight in layer.weights:
        if weight.name != "kernel":
            weight.assign(np.zeros(weight.shape))
    np.testing.assert_allclose(found, _expected(layer, OBJECTS), rtol=1e-9, atol=1e-12)


def test_an_embedding_by_hand() -> None:
    layer = BehaviorEmbedding(None, 2, 3)
    layer.build((1, 1, 2))
    layer.set_weights([np.array([[9.0, 9.0], [1.0, 2.0]]), np.array([[9.0, 9.0], [9.0, 9.0], [0.5, -0.5]])])
    found = layer(np.array([[[10.0, 20.0]]]), np.array([[1]]), np.array([[2]]))
    np.testing.assert_allclose(np.asarray(found), [[[11.5, 21.5]]])


@pytest.mark.parametrize(
    ("combine", "embedding_dim", "side", "kernel"),
    [
        ("sum", None, OBJECT_DIM, None),
        ("sum", OBJECT_DIM, OBJECT_DIM, None),
        ("sum", DIM, DIM, (OBJECT_DIM, DIM)),
        ("concat", None, OBJECT_DIM // 4, (OBJECT_DIM + 2 * (OBJECT_DIM // 4), OBJECT_DIM)),
        ("concat", DIM, DIM // 4, (OBJECT_DIM + 2 * (DIM // 4), DIM)),
        ("concat", 2, 1, (OBJECT_DIM + 2, 2)),
    ],
)
def test_weights_are_only_those_that_the_form_needs(
    combine: str, embedding_dim: int | None, side: int, kernel: tuple[int, int] | None
) -> None:
    shapes = {name: value.shape for name, value in _weights(_layer(combine, embedding_dim)).items()}
    expected = {"action_table": (ACTIONS, side), "time_table": (BUCKETS, side)}
    assert shapes == expected | ({"kernel": kernel} if kernel else {})


@pytest.mark.parametrize(("combine", "embedding_dim"), FORMS)
def test_no_behaviors_and_no_candidates_give_no_embeddings(combine: str, embedding_dim: int | None) -> None:
    layer = _layer(combine, embedding_dim)
    assert layer(OBJECTS[:, :0], ACTED[:, :0], BUCKET[:, :0]).shape == (B, 0, embedding_dim or OBJECT_DIM)
    assert layer(OBJECTS[:, :0]).shape == (B, 0, embedding_dim or OBJECT_DIM)


@pytest.mark.parametrize(("combine", "embedding_dim"), FORMS)
def test_the_output_shape_is_known_without_a_call(combine: str, embedding_dim: int | None) -> None:
    assert _layer(combine, embedding_dim).compute_output_shape((None, T, OBJECT_DIM)) == (
        None,
        T,
        embedding_dim or OBJECT_DIM,
    )


@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_only_the_rows_of_actions_and_buckets_that_occur_have_a_gradient(combine: str) -> None:
    layer = _layer(combine, DIM)
    acted, bucket = np.full((B, T), 3), np.full((B, T), 5)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(OBJECTS, acted, bucket) ** 2)
    gradients = tape.gradient(total, [weight.value for weight in layer.trainable_weights])
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        dense = np.asarray(tf.convert_to_tensor(gradient))
        assert np.isfinite(dense).all()
        if weight.name != "kernel":
            touched = np.flatnonzero(np.abs(dense).sum(axis=1))
            assert touched.tolist() == [3 if weight.name == "action_table" else 5]


def test_an_unknown_way_to_combine_is_refused() -> None:
    with pytest.raises(ValueError, match=r'Expected combine="sum" or "concat"\. Received: combine=\'mean\'\.'):
        BehaviorEmbedding(DIM, ACTIONS, BUCKETS, combine="mean")
