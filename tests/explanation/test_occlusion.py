"""What an occlusion says is what the model says of a request without it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.explanation import Explainer, Explanation, Names, Occluder, Occlusion, Request, attention_agreement
from atrank_tf.explanation import occlusion as room
from atrank_tf.models import AveragePooling


@pytest.fixture(scope="module")
def occluder(model: Any) -> Occluder:
    return Occluder(model)


@pytest.fixture(scope="module")
def occlusions(occluder: Occluder, explanations: list[Explanation]) -> list[Occlusion]:
    return [occluder.occlude(explanation) for explanation in explanations]


def _cut(inputs: Any, group: str, places: Any) -> dict[str, np.ndarray]:
    """A request whose history is shorter, not padded."""
    columns = [f"{group}__{column}" for column in ("id", "action", "timestamp")]
    return {name: np.delete(value, places, axis=1) if name in columns else value for name, value in inputs.items()}


def test_behaviors_and_groups_fall_as_a_request_that_never_had_them(
    score: Callable[..., np.ndarray], explanations: list[Explanation], occlusions: list[Occlusion]
) -> None:
    for explanation, found in zip(explanations[:2], occlusions, strict=False):
        for t in (0, len(explanation.behaviors) - 1):
            behavior = explanation.behaviors[t]
            without = score(explanation.task, _cut(explanation.inputs, behavior.group, [behavior.place]))
            np.testing.assert_allclose(found.behaviors[:, t], explanation.score - without, rtol=1e-4, atol=1e-5)
        for group, drops in found.groups.items():
            without = score(explanation.task, _cut(explanation.inputs, group, slice(None)))
            np.testing.assert_allclose(drops, explanation.score - without, rtol=1e-4, atol=1e-5)
        assert found.behaviors.shape == (len(explanation.candidates), len(explanation.behaviors))
        assert np.abs(found.behaviors).max() > 1e-3


def test_a_space_that_reads_nothing_changes_nothing_when_it_goes(
    make_model: Callable[..., Any], names: Names, requests: list[Request]
) -> None:
    keras.utils.set_random_seed(2)
    model = make_model()
    block = model.get_layer("target_attention")
    values, masses = block.attention.value_kernel.numpy(), block.mass_kernel.numpy()
    values[:, 4:8], masses[1] = 0, 0  # Space II of three, four units each.
    block.attention.value_kernel.assign(values)
    block.mass_kernel.assign(masses)
    before = [weight.numpy() for weight in model.weights]
    [explanation] = Explainer(model, names).explain(requests[0].task, requests[0].inputs, ["u"])
    found = Occluder(model).occlude(explanation)
    assert set(found.spaces) == {"self-attention 1", "target attention"}
    assert found.spaces["target attention"].shape == (3, len(explanation.candidates))
    np.testing.assert_array_equal(found.spaces["target attention"][1], 0.0)
    for drops in (*found.spaces["target attention"][[0, 2]], *found.spaces["self-attention 1"]):
        assert np.abs(drops).max() > 1e-6
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_all_spaces_go_one_at_a_time(occlusions: list[Occlusion]) -> None:
    assert list(occlusions[0].spaces) == ["self-attention 1", "self-attention 2", "target attention"]


def test_many_behaviors_are_scored_in_several_batches(
    occluder: Occluder, explanations: list[Explanation], occlusions: list[Occlusion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_WEIGHTS", 600)  # A few copies at a time.
    again = occluder.occlude(explanations[0])
    np.testing.assert_allclose(again.behaviors, occlusions[0].behaviors, rtol=1e-5, atol=1e-5)


def test_a_model_without_attention_is_explained_by_occlusion_alone(
    records: Any, names: Names, requests: list[Request]
) -> None:
    model = AveragePooling(records.schema, catalogs=records.catalogs, hidden_dim=12, hidden_units=[9])
    [explanation] = Explainer(model, names).explain(requests[0].task, requests[0].inputs, ["u"])
    assert len(explanation.self_attention) == 0
    assert explanation.target_attention.shape == (0, len(explanation.candidates), len(explanation.behaviors))
    found = Occluder(model).occlude(explanation)
    assert found.spaces == {} and np.abs(found.behaviors).max() > 0
    assert np.isnan(attention_agreement(explanation, found)).all()


def test_nothing_to_take_away_gives_no_columns(occluder: Occluder, explanations: list[Explanation]) -> None:
    first = explanations[0]
    inputs = dict(first.inputs)
    for group in ("purchase", "redemption"):
        for column in ("id", "action", "timestamp"):
            inputs[f"{group}__{column}"] = np.zeros((1, 0), np.int64)
    found = occluder.occlude(replace(first, behaviors=(), inputs=inputs))
    assert found.behaviors.shape == (len(first.candidates), 0)
    for drops in found.groups.values():
        np.testing.assert_allclose(drops, 0, atol=1e-6)
