"""What cannot be true is refused by the graph of an export, and unknown actions are dropped, as prepare does it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from raw_requests import example

from atrank_tf.data import IdMaps, Records
from atrank_tf.models import Ranker
from atrank_tf.saved_model import Preprocessor
from atrank_tf.schema import LATEST
from atrank_tf.server import Code, LoadedModel, ServingError

NOW = 7_344_000


@pytest.fixture(scope="module")
def loaded(shop_export: str) -> Iterator[LoadedModel]:
    loaded = LoadedModel(shop_export)
    yield loaded
    loaded.close()


def request(**changes: Any) -> dict[str, np.ndarray]:
    """One user with two purchases, as `score__next_purchase` takes it."""
    values = {
        "now": [NOW],
        "purchase__id": [["p1", "p2"]],
        "purchase__action": [["regular", "discounted"]],
        "purchase__timestamp": [[NOW - 90_000, NOW - 60]],
        "redemption__id": [[]],
        "redemption__action": [[]],
        "redemption__timestamp": [[]],
        "user__age": ["young"],
        "user__income": [10.0],
        "next_purchase__candidates": [["p1", "p3"]],
    } | changes
    return {name: np.array(value, _dtype(name)) for name, value in values.items()}


def _dtype(name: str) -> Any:
    if name in ("now", "redemption__id") or name.endswith("timestamp"):
        return np.int64
    return np.float32 if name == "user__income" else object


MILLISECONDS, YEAR_50_000 = 1000 * NOW, 1_515_000_000_000
UNTRUE = [
    (
        {"purchase__timestamp": [[NOW - 90_000, NOW + 1]]},
        r"purchase__timestamp in Unix seconds .*, none after now.*7344001",
    ),
    ({"purchase__timestamp": [[MILLISECONDS, MILLISECONDS]]}, r"\(not in milliseconds\), none after now"),
    ({"purchase__timestamp": [[NOW, YEAR_50_000]]}, r"none after now"),
    ({"purchase__timestamp": [[-5, NOW - 5]]}, r"none after now or before 1970.*-5"),
    ({"now": [YEAR_50_000]}, r"Expected now in Unix seconds, after 1970 and before 2100.*1515000000000"),
    ({"now": [LATEST + 1], "purchase__timestamp": [[1, 2]]}, r"Expected now in Unix seconds"),
    ({"now": [0], "purchase__timestamp": [[0, 0]]}, r"Expected now in Unix seconds"),
    ({"now": [-NOW], "purchase__timestamp": [[0, 0]]}, r"Expected now in Unix seconds"),
]


@pytest.mark.parametrize(("changes", "expected"), UNTRUE)
def test_a_time_that_cannot_be_is_refused(loaded: LoadedModel, changes: dict[str, Any], expected: str) -> None:
    raw = request(**changes)
    for signature in ("score__next_purchase", "explain__next_purchase", "encode_user"):
        with pytest.raises(ServingError, match=expected) as caught:
            loaded.run(signature, {name: raw[name] for name in loaded.signatures[signature].inputs})
        assert caught.value.code is Code.INVALID_ARGUMENT


def test_examples_are_refused_alike(loaded: LoadedModel) -> None:
    late = {"now": [NOW], "purchase__id": ["p1"], "purchase__action": ["regular"], "purchase__timestamp": [NOW + 5]}
    with pytest.raises(ServingError, match="none after now"):
        loaded.run("rank", {"examples": np.array([example(late | {"next_purchase__candidates": ["p1"]})], object)})


def test_a_memory_is_scored_at_a_time_that_can_be(timeline_export: str) -> None:
    timeline = LoadedModel(timeline_export)
    raw = request()
    memory = timeline.run("encode_user", {name: raw[name] for name in timeline.signatures["encode_user"].inputs})
    known = raw | memory | {"now": np.array([MILLISECONDS * 1000])}
    with pytest.raises(ServingError, match="Expected now in Unix seconds"):
        timeline.run("score_candidates", {name: known[name] for name in timeline.signatures["score_candidates"].inputs})
    timeline.close()


def test_the_moment_of_the_request_and_the_last_second_of_2099_are_true(loaded: LoadedModel) -> None:
    for now in (NOW, LATEST):
        raw = request(now=[now], purchase__timestamp=[[1, now]])
        assert np.isfinite(loaded.run("score__next_purchase", raw)["scores"]).all()


def test_a_behavior_of_an_unknown_action_is_dropped_as_prepare_drops_it(loaded: LoadedModel) -> None:
    one = request(purchase__id=[["p1"]], purchase__action=[["regular"]], purchase__timestamp=[[NOW - 90_000]])
    more = request(
        purchase__id=[["p5", "p1", "p6", "p7"]],
        purchase__action=[["regularr", "regular", "", "redeem"]],
        purchase__timestamp=[[NOW - 5, NOW - 90_000, NOW - 4, NOW - 3]],
    )
    expected, found = (loaded.run("score__next_purchase", each)["scores"] for each in (one, more))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    places = loaded.run("explain__next_purchase", more)["behavior_place"]
    assert sorted(places[places >= 0].tolist()) == [1]


def test_what_is_dropped_takes_no_place_of_a_history(make_model: Callable[..., Ranker], records: Records) -> None:
    preprocessor = Preprocessor(make_model(), IdMaps.of(records))
    longest = records.schema.groups["purchase"].max_length
    actions = [["regular"] * 3 + ["unknown"] * longest]
    history = {
        "now": [NOW],
        "purchase__id": [["p1"] * len(actions[0])],
        "purchase__action": actions,
        "purchase__timestamp": [list(range(1, 1 + len(actions[0])))],
    }
    inputs = preprocessor(history)
    assert sorted(inputs["purchase__timestamp"].numpy()[0].tolist()) == [0] * (longest - 3) + [1, 2, 3]
    assert ((inputs["purchase__id"] > 0) == (inputs["purchase__timestamp"] > 0)).numpy().all()
    assert ((inputs["purchase__action"] > 1) == (inputs["purchase__timestamp"] > 0)).numpy().all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="none after now"):
        preprocessor(history | {"now": [2]})
