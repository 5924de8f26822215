"""The attention that an explainer gives is the one that the scores came from: from it, in NumPy, the scores follow."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.data import evaluation_batches
from atrank_tf.models import TimelineATRank
from atrank_tf.models.explain import recording

K, SIZE = 3, 4
TASK = "next_purchase"


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Any]) -> Any:
    """One block, linear, and a score that is nothing but <read-out, candidate> / sqrt(D)."""
    keras.utils.set_random_seed(3)
    model = make_model(ranking=["dot"], item_bias=False, tasks=[TASK])
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape))
    return model


@pytest.fixture(scope="module")
def inputs(records: Any) -> dict[str, np.ndarray]:
    batch, _, _ = next(iter(evaluation_batches(records, "test", tasks=[TASK])))
    return {name: value.numpy()[:4] for name, value in batch.items()}


def _attend(layer: Any, query: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sketch of `SpaceAttention` for one user, over real behaviors alone.

    Returns:
        Weights [K, Q, T], what is read [Q, D], and the mass [Q, K].
    """
    kernels = {weight.name: np.asarray(weight, np.float64) for weight in layer.weights}
    weights, read, mass = [], [], []
    for space in range(K):
        columns = slice(space * SIZE, (space + 1) * SIZE)
        project, value = kernels["query_kernel"][:, columns], kernels["value_kernel"][:, columns]
        asking, keys = _unit(query @ project @ kernels["score_kernel"][space]), _unit(memory @ project)
        scores = np.exp(asking @ keys.T / np.sqrt(SIZE))
        scores /= np.exp(kernels["sink_score"][space])
        weights.append(scores / (1 + scores.sum(axis=1, keepdims=True)))
        mass.append(np.log(1 + scores.sum(axis=1)))
        read.append(weights[-1] @ memory @ value)
    return np.stack(weights), np.concatenate(read, axis=1), np.stack(mass, axis=1)


def _unit(x: np.ndarray) -> np.ndarray:
    """Root mean square 1 along the last axis."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True))


def _norm(layer: Any, x: np.ndarray) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * np.asarray(layer.gamma) + np.asarray(layer.beta)


def _feed_forward(layer: Any, x: np.ndarray) -> np.ndarray:
    inner = np.maximum(x @ np.asarray(layer.inner.kernel) + np.asarray(layer.inner.bias), 0)
    return _norm(layer.norm, x + inner @ np.asarray(layer.outer.kernel) + np.asarray(layer.outer.bias))


def test_attention_and_score_are_those_of_the_equations(model: Any, inputs: dict[str, np.ndarray]) -> None:
    explainer = model.explainer(TASK)
    found = {
        name: value.numpy() for name, value in explainer({i.name: inputs[i.name] for i in explainer.inputs}).items()
    }
    behaviors, mask = (np.asarray(part) for part in model.embed_behaviors(inputs))
    candidates = np.asarray(model.embed_candidates(TASK, inputs[f"{TASK}__candidates"]).embedding)
    block, reader = model.get_layer("self_attention_0"), model.get_layer("target_attention")
    for user, real in enumerate(mask):
        own, related, _ = _attend(block.attention, behaviors[user, real], behaviors[user, real])
        memory = _feed_forward(block.feed_forward, _norm(block.norm, behaviors[user, real] + related))
        read, read_out, mass = _attend(reader.attention, candidates[user], memory)
        vectors = _feed_forward(reader.feed_forward, read_out) + mass @ np.asarray(reader.mass_kernel)
        vectors += np.asarray(model.calendar(inputs["now"]))[user]
        score = (vectors * candidates[user]).sum(axis=1) / np.sqrt(K * SIZE)
        np.testing.assert_allclose(found["self_attention"][user, 0][:, real][..., real], own, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["target_attention"][user][..., real], read, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["score"][user], score, rtol=1e-4, atol=1e-5)
        assert np.ptp(own) > 0.05 and np.ptp(read) > 0.05
    np.testing.assert_array_equal(found["score_dot"], found["score"])
    assert "score_dnn" not in found and "score_item_bias" not in found


def test_behaviors_stand_group_by_group(model: Any, inputs: dict[str, np.ndarray]) -> None:
    explainer = model.explainer(TASK)
    found = {
        name: value.numpy() for name, value in explainer({i.name: inputs[i.name] for i in explainer.inputs}).items()
    }
    for column in ("id", "action", "timestamp"):
        groups = [inputs[f"{group}__{column}"] for group in ("purchase", "redemption")]
        np.testing.assert_array_equal(found[f"behavior_{column}"], np.concatenate(groups, axis=1))
    widths = [inputs[f"{group}__id"].shape[1] for group in ("purchase", "redemption")]
    np.testing.assert_array_equal(found["behavior_group"], np.repeat([[0, 1]], widths, axis=1).repeat(4, axis=0))


def test_a_timeline_models_behaviors_attend_to_nothing_later(records: Any, inputs: dict[str, np.ndarray]) -> None:
    config = {"hidden_dim": 12, "num_spaces": 3, "num_blocks": 2, "intermediate_dim": 10, "hidden_units": [9]}
    explainer = TimelineATRank(records.schema, catalogs=records.catalogs, **config).explainer(TASK)
    found = {
        name: value.numpy() for name, value in explainer({i.name: inputs[i.name] for i in explainer.inputs}).items()
    }
    time, real = found["behavior_timestamp"], found["behavior_id"] > 0
    later = (time[:, :, None] < time[:, None, :]) & real[:, :, None] & real[:, None, :]
    assert later.any()
    weights = np.moveaxis(found["self_attention"], (1, 2), (-2, -1))  # [B, T, T, blocks, K]
    assert weights.shape[-2:] == (2, 3)
    np.testing.assert_array_equal(weights[later], 0.0)


def test_nothing_is_shown_to_a_model_that_nobody_asks(model: Any, inputs: dict[str, np.ndarray]) -> None:
    with recording() as found:
        pass
    model({tensor.name: inputs[tensor.name] for tensor in model.inputs})
    assert not found.self_attention and not found.parts and found.target_attention is None


def test_the_part_of_affinity_is_what_it_adds_to_the_score_of_a_user_without(
    make_model: Callable[..., Any], inputs: dict[str, np.ndarray]
) -> None:
    keras.utils.set_random_seed(4)
    explainer = make_model(tasks=[TASK], ranking=["dot", "dnn"]).explainer(TASK)
    asked = {tensor.name: inputs[tensor.name] for tensor in explainer.inputs}
    found = {name: value.numpy() for name, value in explainer(asked).items()}
    nothing = asked | {f"{TASK}__affinity": np.zeros_like(asked[f"{TASK}__affinity"])}
    without = {name: value.numpy() for name, value in explainer(nothing).items()}
    np.testing.assert_array_equal(without["score_affinity"], 0.0)
    np.testing.assert_allclose(found["score_affinity"], found["score"] - without["score"], rtol=1e-5, atol=1e-5)
    assert np.abs(found["score_affinity"]).max() > 0.01
    parts = {name for name in found if name.startswith("score_")} - {"score_affinity"}
    assert parts == {"score_dot", "score_dnn", "score_item_bias"}
    for name in (*parts, "target_attention"):
        np.testing.assert_allclose(found[name], without[name], rtol=1e-5, atol=1e-5)
