"""An explanation is the model's own pass, without padding, in time order, with names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from atrank_tf.explanation import Explainer, Explanation, Names, Request


def test_scores_are_the_models_and_parts_add_up(
    score: Callable[..., np.ndarray], requests: list[Request], explanations: list[Explanation]
) -> None:
    assert {e.task for e in explanations} == {"next_purchase", "next_redemption"}
    for request, explanation in zip(requests, explanations, strict=True):
        expected = score(request.task, request.inputs)
        np.testing.assert_allclose(explanation.score, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(sum(explanation.parts.values()), explanation.score, rtol=1e-5, atol=1e-5)
        assert set(explanation.parts) == {"item_bias", "dot", "dnn", "affinity"}
        real = request.inputs[f"{request.task}__candidates"][0] > 0
        np.testing.assert_array_equal(explanation.labels, request.labels[0][real])


def test_padding_is_gone_rows_lack_the_sinks_part_and_behaviors_stand_in_time_order(
    requests: list[Request], explanations: list[Explanation], records: Any
) -> None:
    for request, explanation in zip(requests, explanations, strict=True):
        behaviors, candidates = len(explanation.behaviors), len(explanation.candidates)
        expected = sum(int((request.inputs[f"{group}__id"] > 0).sum()) for group in records.schema.groups)
        assert behaviors == expected > 3
        assert explanation.self_attention.shape == (2, 3, behaviors, behaviors)
        assert explanation.target_attention.shape == (3, candidates, behaviors)
        for weights in (explanation.self_attention, explanation.target_attention):
            assert ((weights.sum(axis=-1) > 0) & (weights.sum(axis=-1) < 1)).all()
        times = [behavior.timestamp for behavior in explanation.behaviors]
        assert times == sorted(times) and times[-1] <= explanation.now


def test_a_behavior_keeps_its_weights_its_names_and_its_place(
    explainer: Explainer, requests: list[Request], explanations: list[Explanation], records: Any
) -> None:
    request, explanation = requests[0], explanations[0]
    found = explainer.outputs(request.task, request.inputs)
    groups = list(records.schema.groups)
    starts = np.cumsum([0, *(request.inputs[f"{group}__id"].shape[1] for group in groups)])
    assert {behavior.group for behavior in explanation.behaviors} == set(groups)
    for t, behavior in enumerate(explanation.behaviors):
        column = starts[groups.index(behavior.group)] + behavior.place
        np.testing.assert_array_equal(explanation.target_attention[..., t], found["target_attention"][0, ..., column])
        np.testing.assert_array_equal(
            explanation.self_attention[..., t, 0],
            found["self_attention"][0, :, :, column][
                ..., starts[groups.index(explanation.behaviors[0].group)] + explanation.behaviors[0].place
            ],
        )
        row = request.inputs[f"{behavior.group}__id"][0, behavior.place]
        entity = records.schema.groups[behavior.group].entity
        assert behavior.thing.id == str(records.catalogs[entity].ids[row - 2])
        assert behavior.timestamp == request.inputs[f"{behavior.group}__timestamp"][0, behavior.place]
        action = request.inputs[f"{behavior.group}__action"][0, behavior.place]
        assert behavior.action == records.schema.groups[behavior.group].actions[action - 2]


def test_a_user_without_history_has_scores_and_nothing_attended_to(
    explainer: Explainer, requests: list[Request]
) -> None:
    task, inputs = requests[0].task, dict(requests[0].inputs)
    for name in inputs:
        if name.split("_")[0] in ("purchase", "redemption"):
            inputs[name] = np.zeros_like(inputs[name])
    [found] = explainer.explain(task, inputs, ["nobody"])
    assert found.behaviors == () and found.labels is None
    assert found.self_attention.shape == (2, 3, 0, 0)
    assert found.target_attention.shape == (3, len(found.candidates), 0)
    assert np.isfinite(found.score).all()


def test_a_model_without_blocks_has_vanilla_attention_alone(
    make_model: Callable[..., Any], names: Names, requests: list[Request]
) -> None:
    [found] = Explainer(make_model(num_blocks=0), names).explain(requests[0].task, requests[0].inputs, ["u"])
    assert len(found.self_attention) == 0
    assert len(found.target_attention) == 3
