"""The exported model: raw ids in, the scores of the Keras model out, through the loader that the server uses."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from raw_requests import example, examples, raw_request, rows_of_request, text

from atrank_tf.data import IdMaps, Records
from atrank_tf.models import Ranker
from atrank_tf.saved_model import Preprocessor, export_model
from atrank_tf.saved_model.memories import fingerprint
from atrank_tf.schema.inputs import SEPARATOR, join_names, raw_input_specs
from atrank_tf.server import Code, LoadedModel, ServingError
from atrank_tf.server.loader import read_meta_graph
from atrank_tf.server.warmup import read_warmup


@pytest.fixture(scope="module")
def loaded(shop_export: str) -> Any:
    loaded = LoadedModel(shop_export)
    yield loaded
    loaded.close()


@pytest.mark.parametrize("task", ["next_purchase", "next_redemption"])
def test_5_the_savedmodel_and_the_preprocessor_score_raw_ids_as_keras_scores_rows(
    shop_model: Ranker, loaded: Any, records: Records, task: str
) -> None:
    inputs = rows_of_request(records, task)
    expected = np.asarray(shop_model(inputs, training=False)[task])
    raw, real = raw_request(records, task)
    found = loaded.run(f"score__{task}", raw)
    assert set(found) == {"scores"} and found["scores"].dtype == np.float32
    np.testing.assert_allclose(found["scores"][real], expected[real], rtol=1e-5, atol=1e-5)
    in_python = shop_model.predict(Preprocessor(shop_model, IdMaps.of(records))(raw), verbose=0)
    np.testing.assert_allclose(in_python[task][real], expected[real], rtol=1e-5, atol=1e-5)
    assert all(scores.shape == (len(real), 0) for name, scores in in_python.items() if name != task)
    if task == "next_purchase":
        np.testing.assert_array_equal(loaded.run("serving_default", raw)["scores"], found["scores"])


@pytest.mark.parametrize("task", ["next_purchase", "next_redemption"])
def test_5_a_memory_that_is_encoded_once_scores_as_the_whole_request(loaded: Any, records: Records, task: str) -> None:
    raw, _ = raw_request(records, task)
    memory = loaded.run("encode_user", {name: raw[name] for name in loaded.signatures["encode_user"].inputs})
    assert memory["memory"].dtype == np.float32
    asked = loaded.signatures[f"score_candidates__{task}"].inputs
    known = {**raw, **memory}
    found = loaded.run(f"score_candidates__{task}", {name: known[name] for name in asked})["scores"]
    np.testing.assert_allclose(found, loaded.run(f"score__{task}", raw)["scores"], rtol=1e-5, atol=1e-5)
    assert not {name for name in asked if name.startswith(("purchase_", "redemption_"))}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weights", 1, "Expected a memory that encode_user of this version made"),
        ("encoded_at", 1, "Expected now not before encoded_at"),
        ("encoded_at", -86_400, "Expected a memory encoded less than 86400 seconds ago"),
    ],
)
def test_a_memory_of_other_weights_or_another_time_is_refused(
    loaded: Any, records: Records, name: str, change: int, message: str
) -> None:
    raw, _ = raw_request(records, "next_purchase")
    memory = loaded.run("encode_user", {name: raw[name] for name in loaded.signatures["encode_user"].inputs})
    known = {**raw, **memory, name: memory[name] + change}
    with pytest.raises(ServingError, match=message):
        loaded.run("score_candidates", {name: known[name] for name in loaded.signatures["score_candidates"].inputs})


def test_a_memory_says_which_weights_it_is_of(
    loaded: Any, shop_model: Ranker, make_model: Callable[..., Ranker], records: Records
) -> None:
    raw, _ = raw_request(records, "next_purchase")
    memory = loaded.run("encode_user", {name: raw[name] for name in loaded.signatures["encode_user"].inputs})
    assert set(memory["weights"].tolist()) == {fingerprint(shop_model)}
    one, other = make_model(), make_model()
    seen = {fingerprint(one), fingerprint(other)}
    for weight in one.weights:  # One number of each.
        values = weight.numpy()
        values.flat[-1] += 1
        weight.assign(values)
        seen.add(fingerprint(one))
    assert len(seen) == 2 + len(one.weights)


@pytest.fixture(scope="module")
def timeline(timeline_export: str) -> Any:
    loaded = LoadedModel(timeline_export)
    yield loaded
    loaded.close()


def test_the_timeline_models_memory_grows_no_older(timeline: LoadedModel, records: Records) -> None:
    raw, _ = raw_request(records, "next_purchase")
    memory = timeline.run("encode_user", {name: raw[name] for name in timeline.signatures["encode_user"].inputs})
    raw["now"] = raw["now"] + 40 * 86_400
    known = {**raw, **memory}
    later = {name: known[name] for name in timeline.signatures["score_candidates"].inputs}
    expected = timeline.run("score__next_purchase", raw)["scores"]
    np.testing.assert_allclose(timeline.run("score_candidates", later)["scores"], expected, rtol=1e-5, atol=1e-5)


def test_5_behaviors_are_appended_to_a_memory_as_if_they_had_been_there(
    timeline: LoadedModel, records: Records
) -> None:
    raw, _ = raw_request(records, "next_purchase")
    lengths = [(raw[f"{name}__timestamp"] > 0).sum(axis=1) <= g.max_length for name, g in records.schema.groups.items()]
    raw = {name: value[np.all(lengths, axis=0)] for name, value in raw.items()}  # A memory that grows is not cut.
    median = np.median(np.concatenate([raw["purchase__timestamp"], raw["redemption__timestamp"]], axis=1), axis=1)
    asked = timeline.signatures["encode_timeline"].inputs
    parts = []
    for keep in (np.less_equal, np.greater):
        history = {name: raw[name] for name in asked}
        for group in records.schema.groups:
            time = raw[f"{group}__timestamp"]
            history[f"{group}__timestamp"] = np.where(keep(time, median[:, None]), time, 0)
        parts.append(history)
    old = timeline.run("encode_timeline", parts[0])
    memory = timeline.run("append_behaviors", {**parts[1], **old})
    known = {**raw, **memory}
    inputs = timeline.signatures["score_candidates"].inputs
    found = timeline.run("score_candidates", {name: known[name] for name in inputs})["scores"]
    np.testing.assert_allclose(found, timeline.run("score__next_purchase", raw)["scores"], rtol=1e-5, atol=1e-5)
    with pytest.raises(ServingError, match="Expected behaviors newer than those in the memory"):
        timeline.run("append_behaviors", {**parts[1], **memory})
    with pytest.raises(ServingError, match="Expected a memory that encode_user of this version made"):
        timeline.run("append_behaviors", {**parts[1], **old, "weights": old["weights"] + 1})


@pytest.mark.parametrize(
    ("kind", "served", "task"),
    [
        ("shop_model", "loaded", "next_purchase"),
        ("shop_model", "loaded", "next_redemption"),
        ("timeline_model", "timeline", "next_purchase"),
    ],
)
def test_5_what_a_score_came_from_is_what_keras_says(
    request: pytest.FixtureRequest, records: Records, kind: str, served: str, task: str
) -> None:
    model, loaded = request.getfixturevalue(kind), request.getfixturevalue(served)
    inputs = rows_of_request(records, task)
    explainer, (raw, _) = model.explainer(task), raw_request(records, task)
    expected = {name: np.asarray(value) for name, value in explainer(_asked(explainer, inputs)).items()}
    found = loaded.run(f"explain__{task}", raw)
    starts = dict(zip(records.schema.groups, np.searchsorted(expected["behavior_group"][0], [0, 1]), strict=True))
    assert found["target_attention"].dtype == np.float32
    for row in range(len(raw["now"])):
        here, there = np.flatnonzero(found["behavior_place"][row] >= 0), []
        for group, place in zip(found["behavior_group"][row, here], found["behavior_place"][row, here], strict=True):
            older = max(
                0, (raw[f"{text(group)}__timestamp"][row] > 0).sum() - model.schema.groups[text(group)].max_length
            )
            there.append(starts[text(group)] + place - older)
        assert sorted(there) == np.flatnonzero(expected["behavior_id"][row]).tolist()
        real = inputs[f"{task}__candidates"][row] > 0
        for name in ("score_dot", "score_dnn", "score_item_bias", "score_affinity"):
            np.testing.assert_allclose(found[name][row, real], expected[name][row, real], rtol=1e-5, atol=1e-5)
        scores = expected["score"][row, real]
        np.testing.assert_allclose(found["scores"][row, real], scores, rtol=1e-5, atol=1e-5)
        for name in ("self_attention", "target_attention"):
            one, other = found[name][row][..., here], expected[name][row][..., there]
            if name == "self_attention":
                one, other = one[..., here, :], other[..., there, :]
            else:
                one, other = one[:, real], other[:, real]
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
            if len(here):
                assert ((one.sum(axis=-1) > 0) & (one.sum(axis=-1) < 1)).all()
    assert len(here) > 1
    if task == "next_purchase":
        np.testing.assert_array_equal(loaded.run("explain", raw)["scores"], found["scores"])


def _asked(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {tensor.name: inputs[tensor.name] for tensor in model.inputs}


@pytest.mark.parametrize("task", ["next_purchase", "next_redemption"])
def test_5_examples_of_any_length_are_ranked_as_the_padded_request_scores_them(
    loaded: Any, records: Records, task: str
) -> None:
    raw, real = raw_request(records, task)
    scores = loaded.run(f"score__{task}", raw)["scores"]
    found = loaded.run(f"rank__{task}", {"examples": examples(raw, real, task)})
    assert found["count"].tolist() == real.sum(axis=1).tolist()
    assert len(set(found["count"].tolist())) > 1 or task == "next_purchase"
    ids, compared = raw[f"{task}__candidates"], 0
    for row, count in enumerate(found["count"].tolist()):
        best = np.argsort(-scores[row][real[row]], kind="stable")
        np.testing.assert_allclose(found["scores"][row, :count], scores[row][real[row]][best], rtol=1e-5, atol=1e-5)
        ranked, expected = found["ids"][row, :count], ids[row][real[row]][best]
        order = np.diff(scores[row][real[row]][best]) < -1e-4  # Near ties may stand the other way round.
        if order.all():
            assert [text(value) for value in ranked] == [text(value) for value in expected]
            compared += count > 1
        assert (found["scores"][row, count:] == np.finfo(np.float32).min).all()
    assert compared > 0


def test_an_example_may_leave_out_all_but_its_moment_and_candidates(loaded: Any) -> None:
    only = example({"now": [9_999_999], "next_purchase__candidates": ["p1", "p2", "p3"]})
    found = loaded.run("rank", {"examples": np.array([only], object)})
    raw = {
        "now": np.array([9_999_999]),
        "user__age": np.array([""], object),
        "user__income": np.array([np.nan], np.float32),
        "next_purchase__candidates": np.array([["p1", "p2", "p3"]], object),
    }
    for group, dtype in (("purchase", object), ("redemption", np.int64)):
        raw[f"{group}__id"] = np.zeros((1, 0), dtype)
        raw[f"{group}__action"] = np.zeros((1, 0), object)
        raw[f"{group}__timestamp"] = np.zeros((1, 0), np.int64)
    scores = loaded.run("score__next_purchase", raw)["scores"][0]
    np.testing.assert_allclose(found["scores"][0], np.sort(scores)[::-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"next_purchase__candidates": ["p1"]}, "now"),
        (
            {"now": [9], "purchase__id": ["p1"], "purchase__timestamp": [5, 6]},
            "as many values of purchase__id, purchase__action, purchase__timestamp in each Example",
        ),
        (
            {"now": [9], "next_redemption__candidates": [1, 2], "next_redemption__position": [0.5]},
            "as many values of next_redemption__candidates, next_redemption__position in each Example",
        ),
    ],
)
def test_an_example_that_does_not_fit_together_is_refused(loaded: Any, features: dict[str, Any], message: str) -> None:
    task = "next_redemption" if "next_redemption__candidates" in features else "next_purchase"
    with pytest.raises(ServingError, match=message):
        loaded.run(f"rank__{task}", {"examples": np.array([example(features)], object)})


def test_columns_of_one_group_that_differ_in_length_are_refused(loaded: Any, records: Records) -> None:
    raw, _ = raw_request(records, "next_purchase")
    raw["purchase__action"] = raw["purchase__action"][:, :-1]
    with pytest.raises(
        ServingError, match="Expected purchase__id, purchase__action and purchase__timestamp of one shape"
    ):
        loaded.run("score__next_purchase", raw)


@pytest.mark.parametrize("task", ["next_purchase", "next_redemption"])
def test_an_input_of_one_user_is_not_broadcast_to_the_others(loaded: Any, records: Records, task: str) -> None:
    raw, _ = raw_request(records, task)
    for name in raw:
        if not name.startswith(("purchase_", "redemption_")):
            match = rf"as many users as the longest,\] \[{len(raw['now'])}\] \[Received:\] \[1\] \[in\] \[{name}\]"
            with pytest.raises(ServingError, match=match):
                loaded.run(f"score__{task}", {**raw, name: raw[name][:1]})
    with pytest.raises(ServingError, match=r"\[1 2\] \[in\] \[now user__age\]"):
        loaded.run(f"score__{task}", {**raw, "now": raw["now"][:1], "user__age": raw["user__age"][:2]})


def test_nor_is_a_memory(loaded: Any, timeline: Any, records: Records) -> None:
    raw, _ = raw_request(records, "next_purchase")
    for model, encode in ((loaded, "encode_user"), (timeline, "encode_timeline")):
        memory = model.run(encode, {name: raw[name] for name in model.signatures[encode].inputs})
        one = {name: value[:1] for name, value in memory.items()}
        for signature in {"score_candidates", "append_behaviors"} & set(model.signatures):
            known = {name: {**raw, **one}[name] for name in model.signatures[signature].inputs}
            with pytest.raises(ServingError, match=r"as many users as the longest,\].*\[in\] \[.*encoded_at"):
                model.run(signature, known)


def test_6_new_users_and_ids_never_seen_get_finite_scores(loaded: Any, records: Records) -> None:
    raw = {
        "now": np.array([9_999_999]),
        "purchase__id": np.array([["?", "??"]], object),
        "purchase__action": np.array([["?", "regular"]], object),
        "purchase__timestamp": np.array([[5, 6]]),
        "redemption__id": np.zeros((1, 0), np.int64),
        "redemption__action": np.zeros((1, 0), object),
        "redemption__timestamp": np.zeros((1, 0), np.int64),
        "user__age": np.array(["?"], object),
        "user__income": np.array([np.nan], np.float32),
        "next_purchase__candidates": np.array([["p1", "?", "??", ""]], object),
    }
    scores = loaded.run("score__next_purchase", raw)["scores"]
    assert scores.shape == (1, 4) and np.isfinite(scores).all()
    # Both are "unknown"; the end of an array is rounded in another way.
    np.testing.assert_allclose(scores[0, 1], scores[0, 2], rtol=1e-5)
    assert not np.isclose(scores[0, 0], scores[0, 1], rtol=1e-3)


def test_a_thousand_candidates_score_as_they_do_one_by_one(loaded: Any, records: Records) -> None:
    raw = {name: value[:1] for name, value in raw_request(records, "next_purchase")[0].items()}
    pool = records.catalogs["product"].ids.astype(object)
    many = np.resize(pool, (1, 1000))
    scores = loaded.run("score__next_purchase", {**raw, "next_purchase__candidates": many})["scores"]
    for place in (0, 17, len(pool)):
        one = loaded.run("score__next_purchase", {**raw, "next_purchase__candidates": many[:, place : place + 1]})[
            "scores"
        ]
        np.testing.assert_allclose(one[0, 0], scores[0, place], rtol=1e-5, atol=1e-5)


def test_signatures_have_the_names_and_dtypes_that_the_schema_says(shop_export: str, shop_model: Ranker) -> None:
    saved = tf.saved_model.load(shop_export)
    kinds = ("score", "rank", "score_candidates", "explain")
    tasks = {f"{kind}__{task}" for kind in kinds for task in ("next_purchase", "next_redemption")}
    of_first = {"serving_default", "rank", "score_candidates", "explain", "encode_user"}
    assert set(saved.signatures) == of_first | tasks | {"top", "top__next_purchase"}
    for task in shop_model.tasks:
        _, found = saved.signatures[f"score__{task}"].structured_input_signature
        assert {(name, spec.dtype.name, spec.shape.rank) for name, spec in found.items()} == {
            (spec.name, spec.dtype, 1 + len(spec.shape)) for spec in raw_input_specs(shop_model.schema, task)
        }


def test_a_signature_is_of_no_task_or_its_name_is_joined_from_what_it_does_and_the_task(
    loaded: Any, timeline: Any, records: Records
) -> None:
    does = ("score", "rank", "top", "score_candidates", "explain")
    of_tasks = {join_names(each, task) for each in does for task in records.schema.tasks}
    for name in {*loaded.signatures, *timeline.signatures} - {"__saved_model_init_op"}:
        assert name in of_tasks or SEPARATOR not in name


def test_what_signatures_share_is_stored_once(shop_export: str, shop_model: Ranker) -> None:
    functions = [each.signature.name for each in read_meta_graph(shop_export).graph_def.library.function]
    for name, times in (("history", 1), ("_encoded", 1), ("scores_of_request", len(shop_model.tasks))):
        assert sum(re.fullmatch(rf"__inference_{name}_\d+", function) is not None for function in functions) == times


def test_an_export_has_a_warm_up_request_for_each_signature(
    loaded: Any, timeline: Any, shop_export: str, timeline_export: str
) -> None:
    for model, folder in ((loaded, shop_export), (timeline, timeline_export)):
        requests = read_warmup(folder)
        assert {request.signature_name for request in requests} == set(model.signatures) - {"__saved_model_init_op"}
        for request in requests:
            assert set(model.run(request.signature_name, request.inputs))


@pytest.mark.parametrize("task", ["next_purchase", "next_redemption"])
def test_the_warm_up_example_has_a_history_of_another_length_than_its_candidates(shop_export: str, task: str) -> None:
    [request] = [each for each in read_warmup(shop_export) if each.signature_name == f"rank__{task}"]
    features = tf.train.Example.FromString(request.inputs["examples"][0]).features.feature
    lengths = {}
    for name, feature in features.items():
        values = getattr(feature, feature.WhichOneof("kind"))
        lengths[name] = len(values.value)
    columns = {f"{group}__{column}" for group in ("purchase", "redemption") for column in ("id", "action", "timestamp")}
    assert set(lengths) == {"now", f"{task}__candidates"} | columns
    [history] = {lengths[name] for name in columns}
    assert 0 < history != lengths[f"{task}__candidates"] > 0


@pytest.mark.slow
def test_what_is_of_the_request_is_an_input_of_its_own_in_every_signature(
    make_model: Callable[..., Ranker], records: Records, tmp_path: Path
) -> None:
    task, channel = "next_redemption", "next_redemption__channel"
    model, [raw, real] = make_model(tasks=[task]), raw_request(records, task)
    expected = np.asarray(model(rows_of_request(records, task), training=False)[task])
    spec = replace(model.schema.tasks[task], of_request=("channel",))
    model.schema = replace(model.schema, tasks={**model.schema.tasks, task: spec})
    loaded = LoadedModel(export_model(model, IdMaps.of(records), str(tmp_path / "export"), explain=True))
    raw[channel] = raw[channel][:, 0]  # The same for all candidates of these requests.
    for signature in (f"score__{task}", f"explain__{task}"):
        assert len(loaded.signatures[signature].inputs[channel].shape) == 1
        found = loaded.run(signature, {name: raw[name] for name in loaded.signatures[signature].inputs})
        np.testing.assert_allclose(found["scores"][real], expected[real], rtol=1e-5, atol=1e-5)
    ranked = loaded.run(f"rank__{task}", {"examples": examples(raw, real, task)})
    for row, count in enumerate(ranked["count"]):
        best = -np.sort(-expected[row][real[row]])
        np.testing.assert_allclose(ranked["scores"][row, :count], best, rtol=1e-5, atol=1e-5)
    loaded.close()


def test_a_longer_history_is_encoded_as_its_newest_part_and_counts_as_a_whole(loaded: Any, records: Records) -> None:
    inputs = rows_of_request(records, "next_purchase")
    full = int(np.argmax((inputs["purchase__id"] > 0).sum(axis=1)))
    assert (inputs["purchase__id"][full] > 0).sum() == records.schema.groups["purchase"].max_length
    raw = {name: value[full : full + 1] for name, value in raw_request(records, "next_purchase")[0].items()}
    longer = dict(raw)
    candidate = raw["next_purchase__candidates"][0, 1]
    for column, older in (("id", candidate), ("action", "regular"), ("timestamp", 1)):
        name = f"purchase__{column}"
        longer[name] = np.concatenate([np.full((1, 3), older, raw[name].dtype), raw[name]], axis=1)
    asked = loaded.signatures["encode_user"].inputs
    memories = [loaded.run("encode_user", {name: each[name] for name in asked}) for each in (raw, longer)]
    np.testing.assert_allclose(memories[1]["memory"], memories[0]["memory"], rtol=1e-5, atol=1e-5)
    scores = [loaded.run("score__next_purchase", each)["scores"] for each in (raw, longer)]
    assert abs(scores[1] - scores[0])[0, 1] > 1e-3


def test_users_times_the_longest_are_bounded_before_anything_is_padded(loaded: Any) -> None:
    """One Example of 1,000 candidates among 10,000: each of these would get as many."""
    short, long = ({"now": [9_999_999], "next_purchase__candidates": ["p1"] * count} for count in (1, 1000))
    examples = np.array([example(long)] + [example(short)] * 9_999, object)
    with pytest.raises(ServingError, match=r"Expected a request that takes at most \d+ bytes of memory") as caught:
        loaded.run("rank", {"examples": examples})
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert loaded.run("rank", {"examples": examples[:10]})["count"].tolist() == [1000] + [1] * 9


def test_a_feature_that_costs_little_is_bounded_too(loaded: Any) -> None:
    history = {f"redemption__{column}": [9] * 1000 for column in ("id", "timestamp")}
    long = example({"now": [9_999_999], **history, "redemption__action": ["redeem"] * 1000})
    examples = np.array([long] + [example({"now": [9_999_999]})] * 1_000, object)
    with pytest.raises(ServingError, match=r"Expected at most 1000000 values of a feature in all users.*1001000"):
        loaded.run("rank", {"examples": examples})


def test_users_times_the_square_of_their_behaviors_are_bounded(loaded: Any, records: Records) -> None:
    raw, _ = raw_request(records, "next_purchase")
    many = {name: np.repeat(value[:1], 100_000, axis=0) for name, value in raw.items()}
    with pytest.raises(ServingError, match=r"Expected a request that takes at most \d+ bytes of memory"):
        loaded.run("score__next_purchase", many)
