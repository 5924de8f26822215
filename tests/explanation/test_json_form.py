"""What the page gets is what Python computed."""

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np

from atrank_tf.explanation import Explanation, Occlusion, explanation_to_json

GROUPS = ["purchase", "redemption"]


def _unpack(packed: dict[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(packed["data"]), np.dtype(packed["type"]).newbyteorder("<"))
    return values.reshape(packed["shape"]) / (65_535 if packed["type"] == "uint16" else 1)


def _occlusion(explanation: Explanation) -> Occlusion:
    count = len(explanation.candidates)
    behaviors = np.random.default_rng(0).normal(size=(count, len(explanation.behaviors))).astype(np.float32)
    drops = np.arange(count, dtype=np.float32)
    return Occlusion(behaviors, {"purchase": drops}, {"target attention": np.stack([drops, -drops])})


def test_numbers_come_back(explanations: list[Explanation]) -> None:
    for explanation in explanations:
        occlusion = _occlusion(explanation)
        found = json.loads(json.dumps(explanation_to_json(explanation, occlusion, GROUPS)))
        np.testing.assert_allclose(_unpack(found["self_attention"]), explanation.self_attention, atol=1 / 65_535)
        np.testing.assert_allclose(_unpack(found["target_attention"]), explanation.target_attention, atol=1 / 65_535)
        np.testing.assert_array_equal(_unpack(found["without"]["behaviors"]), occlusion.behaviors)
        assert found["without"]["groups"] == {"purchase": list(range(len(explanation.candidates)))}
        assert found["without"]["spaces"]["target attention"][1][1] == -1
        for n, candidate in enumerate(found["candidates"]):
            np.testing.assert_allclose(candidate["score"], explanation.score[n], rtol=1e-5)
            np.testing.assert_allclose(candidate["parts"]["dot"], explanation.parts["dot"][n], rtol=1e-5)
            assert candidate["affinity"] == list(explanation.affinity[n])
            assert candidate["chosen"] == (explanation.labels[n] == 1)  # type: ignore[index]
            assert found["things"][candidate["thing"]]["id"] == explanation.candidates[n].id
        for behavior, expected in zip(found["behaviors"], explanation.behaviors, strict=True):
            assert GROUPS[behavior["group"]] == expected.group
            assert (behavior["action"], behavior["timestamp"]) == (expected.action, expected.timestamp)
            assert found["things"][behavior["thing"]]["label"] == expected.thing.label
        assert (found["user"], found["task"], found["now"]) == (explanation.user, explanation.task, explanation.now)


def test_an_object_is_described_once(explanations: list[Explanation]) -> None:
    first = explanations[0].candidates[0]
    twice = replace(explanations[0], candidates=(first,) * len(explanations[0].candidates))
    found = explanation_to_json(twice, _occlusion(twice), GROUPS)
    assert len({candidate["thing"] for candidate in found["candidates"]}) == 1


def test_what_is_not_known_is_null(explanations: list[Explanation]) -> None:
    unknown = replace(explanations[0], labels=None, target_attention=explanations[0].target_attention[:0])
    for candidate in explanation_to_json(unknown, _occlusion(unknown), GROUPS)["candidates"]:
        assert candidate["chosen"] is None and candidate["agreement"] is None
