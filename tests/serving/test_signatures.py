"""The exported model: raw ids in, the scores of the Keras model out, through the loader that the server uses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import RawValues, Records, requests
from atrank_tf.models import Ranker
from atrank_tf.serving import LoadedModel, export_savedmodel, lint
from atrank_tf.serving.signatures import _newest, _value_rows, request_signature


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Ranker]) -> Ranker:
    model = make_model()
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.2, size=weight.shape))
    return model


@pytest.fixture(scope="module")
def export(model: Ranker, records: Records, tmp_path_factory: pytest.TempPathFactory) -> str:
    return export_savedmodel(model, RawValues.of(records), str(tmp_path_factory.mktemp("export")))


@pytest.fixture(scope="module")
def loaded(export: str) -> Any:
    loaded = LoadedModel(export)
    yield loaded
    loaded.close()


def raw_request(records: Records, task: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turns rows back into what a log holds; padding becomes garbage ids at timestamp 0."""
    schema = records.schema

    def names(rows: np.ndarray, values: np.ndarray, dtype: Any) -> np.ndarray:
        missing = values.dtype.type(-7 if values.dtype.kind == "i" else "never seen")
        table = np.concatenate([[missing, missing], values])
        return table[rows].astype(dtype)

    raw = {"now": inputs["now"]}
    for name, group in schema.groups.items():
        ids = records.catalogs[group.entity].ids
        raw[f"{name}_id"] = names(inputs[f"{name}_id"], ids, object if ids.dtype.kind == "U" else np.int64)
        raw[f"{name}_action"] = names(inputs[f"{name}_action"], np.array(group.actions), object)
        raw[f"{name}_timestamp"] = inputs[f"{name}_timestamp"]
    ids = records.catalogs[schema.groups[schema.tasks[task].group].entity].ids
    dtype = object if ids.dtype.kind == "U" else np.int64
    raw[f"{task}_candidates"] = names(inputs[f"{task}_candidates"], ids, dtype)
    for prefix, features in (("user", schema.user), (task, schema.tasks[task].context)):
        for column, feature in features.features.items():
            rows = inputs[f"{prefix}_{column}"]
            found = names(rows, records.vocabularies[feature.table], object)
            raw[f"{prefix}_{column}"] = found[:, 0] if prefix == "user" and feature.max_values == 1 else found
        for column in features.dense:
            raw[f"{prefix}_{column}"] = inputs[f"{prefix}_{column}"]
    return raw


@pytest.mark.parametrize("task", ["next_purchase", "next_redemption"])
def test_5_the_savedmodel_scores_raw_ids_as_keras_scores_rows(
    model: Ranker, loaded: Any, records: Records, task: str
) -> None:
    inputs, *_ = next(
        batch for batch in requests(records, "test").as_numpy_iterator() if batch[0][f"{task}_candidates"].shape[1]
    )
    expected = np.asarray(model(inputs, training=False)[task])
    raw = raw_request(records, task, inputs)
    found = loaded.run(task, raw)
    assert set(found) == {"scores"} and found["scores"].dtype == np.float32
    real = inputs[f"{task}_candidates"] > 0
    np.testing.assert_allclose(found["scores"][real], expected[real], rtol=1e-5, atol=1e-5)
    if task == "next_purchase":
        np.testing.assert_array_equal(loaded.run("serving_default", raw)["scores"], found["scores"])


def test_6_new_users_and_ids_never_seen_get_finite_scores(loaded: Any, records: Records) -> None:
    raw = {
        "now": np.array([9_999_999]),
        "purchase_id": np.array([["?", "??"]], object),
        "purchase_action": np.array([["?", "regular"]], object),
        "purchase_timestamp": np.array([[5, 6]]),
        "redemption_id": np.zeros((1, 0), np.int64),
        "redemption_action": np.zeros((1, 0), object),
        "redemption_timestamp": np.zeros((1, 0), np.int64),
        "user_age": np.array(["?"], object),
        "user_income": np.array([np.nan], np.float32),
        "next_purchase_candidates": np.array([["p1", "?", ""]], object),
    }
    scores = loaded.run("next_purchase", raw)["scores"]
    assert scores.shape == (1, 3) and np.isfinite(scores).all()
    assert scores[0, 1] == scores[0, 2] != scores[0, 0]


def test_a_thousand_candidates_score_as_they_do_one_by_one(loaded: Any, records: Records) -> None:
    inputs, *_ = next(requests(records, "test", tasks=["next_purchase", "next_redemption"]).as_numpy_iterator())
    raw = {name: value[:1] for name, value in raw_request(records, "next_purchase", inputs).items()}
    pool = records.catalogs["product"].ids.astype(object)
    many = np.resize(pool, (1, 1000))
    scores = loaded.run("next_purchase", {**raw, "next_purchase_candidates": many})["scores"]
    for place in (0, 17, len(pool)):
        one = loaded.run("next_purchase", {**raw, "next_purchase_candidates": many[:, place : place + 1]})["scores"]
        np.testing.assert_allclose(one[0, 0], scores[0, place], rtol=1e-5, atol=1e-5)


def test_signatures_have_the_names_and_dtypes_that_the_schema_says(export: str, model: Ranker) -> None:
    saved = tf.saved_model.load(export)
    assert set(saved.signatures) == {"serving_default", "next_purchase", "next_redemption"}
    for task in model.tasks:
        _, found = saved.signatures[task].structured_input_signature
        expected = request_signature(model.schema, task)
        assert {name: (spec.dtype, spec.shape.rank) for name, spec in found.items()} == {
            name: (spec.dtype, spec.shape.rank) for name, spec in expected.items()
        }
    assert request_signature(model.schema, "next_redemption")["next_redemption_candidates"].dtype == tf.int64
    assert request_signature(model.schema, "next_purchase")["purchase_id"].dtype == tf.string


def test_versions_count_up_and_the_lint_is_content(
    model: Ranker, records: Records, export: str, tmp_path: Path
) -> None:
    assert lint(export) == []
    values = RawValues.of(records)
    paths = [export_savedmodel(model, values, str(tmp_path)) for _ in range(2)]
    assert [Path(path).name for path in paths] == ["1", "2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_what_tensorflow_serving_cannot_run_is_not_published(
    model: Ranker, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrank_tf.serving.signatures.lint", lambda path: ["an op that it does not know"])
    with pytest.raises(ValueError, match="Found: an op that it does not know"):
        export_savedmodel(model, RawValues.of(records), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_of_more_behaviors_than_max_length_the_newest_count_and_later_ones_win_ties() -> None:
    timestamp = tf.constant([[30, 10, 20, 30, 0], [0, 0, 5, 0, 0]], tf.int64)
    picked = [set(row) for row in _newest(timestamp, 2).numpy().tolist()]
    assert picked[0] == {0, 3}
    assert 2 in picked[1]
    assert [set(row) for row in _newest(timestamp[:1], 1).numpy().tolist()] == [{3}]
    assert sorted(_newest(timestamp, 9).numpy()[0].tolist()) == [0, 1, 2, 3, 4]
    assert _newest(timestamp[:, :0], 3).shape == (2, 0)


def test_a_longer_history_scores_as_its_newest_part(loaded: Any, records: Records) -> None:
    inputs, *_ = next(requests(records, "test", tasks=["next_purchase", "next_redemption"]).as_numpy_iterator())
    full = int(np.argmax((inputs["purchase_id"] > 0).sum(axis=1)))
    assert (inputs["purchase_id"][full] > 0).sum() == records.schema.groups["purchase"].max_length
    raw = {name: value[full : full + 1] for name, value in raw_request(records, "next_purchase", inputs).items()}
    longer = dict(raw)
    for column, older in (("id", "p1"), ("action", "regular"), ("timestamp", 1)):
        name = f"purchase_{column}"
        longer[name] = np.concatenate([np.full((1, 3), older, raw[name].dtype), raw[name]], axis=1)
    np.testing.assert_allclose(
        loaded.run("next_purchase", longer)["scores"], loaded.run("next_purchase", raw)["scores"], rtol=1e-5, atol=1e-5
    )


def test_several_values_come_in_the_width_of_training_and_none_at_all_is_unknown() -> None:
    rows = tf.constant([[5, 0, 6, 7], [0, 0, 0, 0]], tf.int64)
    assert _value_rows(rows, 3).numpy().tolist() == [[5, 0, 6], [1, 0, 0]]
    assert _value_rows(rows[:, :1], 3).numpy().tolist() == [[5, 0, 0], [1, 0, 0]]
    assert _value_rows(rows[:, :0], 2).numpy().tolist() == [[1, 0], [1, 0]]
    assert _value_rows(rows[:, tf.newaxis, :2], 2).numpy().tolist() == [[[5, 0]], [[1, 0]]]
