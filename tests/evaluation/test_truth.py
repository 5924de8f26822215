"""The best that can be reached, by a truth that was made by hand."""

import math

import numpy as np
import polars as pl
import pytest

from atrank_tf.evaluation import evaluate, score_baselines, score_truth
from atrank_tf.preparation import prepare
from atrank_tf.schema import schema_from_dict

SCHEMA = {
    "tables": {"item": {"dim": 2}},
    "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
    "groups": {"click": {"entity": "item", "actions": ["view"]}},
    "tasks": {
        "shown": {"group": "click", "candidates": "impressions"},
        "drawn": {"group": "click", "negatives": {"uniform": 1}},
    },
    "split": {"kind": "by_time", "validation_from": 100, "test_from": 200},
}
ROWS = [
    # request, user, moment, item, label, probability
    ("early", "ann", 50, "a", 1, 0.5),
    ("early", "ann", 50, "b", 0, 0.5),
    ("one", "ann", 110, "a", 1, 0.6),
    ("one", "ann", 110, "b", 0, 0.7),
    ("one", "ann", 110, "c", 0, 0.2),
    ("two", "ann", 120, "c", 0, 0.6),
    ("three", "bob", 110, "b", 1, 0.9),
    ("three", "bob", 110, "a", 0, 0.1),
    ("late", "bob", 210, "a", 1, 0.3),
    ("late", "bob", 210, "b", 0, 0.4),
]
COLUMNS = ["request_id", "user_id", "timestamp", "item_id", "label", "probability"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    for name in ("behaviors", "impressions", "truth"):
        (folder / name).mkdir()
    shown = pl.DataFrame(ROWS, schema=COLUMNS, orient="row")
    shown.drop("probability").write_parquet(folder / "impressions/shown.parquet")
    shown.drop("request_id", "label").reverse().write_parquet(folder / "truth/shown.parquet")
    clicks = shown.filter(pl.col("label") == 1).select("user_id", "item_id", "timestamp", action=pl.lit("view"))
    clicks.write_parquet(folder / "behaviors/click.parquet")
    return folder


@pytest.fixture(scope="module")
def records(folder):
    return prepare(str(folder), schema_from_dict(SCHEMA), str(folder / "records"))


def test_the_best_auc_is_that_of_the_true_probabilities(folder, records):
    scored = score_truth(records, "validation", ["shown", "drawn"], None, str(folder / "truth"))
    assert list(scored) == ["shown"]  # Nobody knows the truth of sampled negatives.
    # Ann: 0.6 against 0.7, 0.2 and 0.6, one lost, one won, one tie. Bob: 0.9 against 0.1.
    found = evaluate(scored["shown"])["user_auc"]
    assert (found.value, found.count) == (pytest.approx((1.5 / 3 + 1) / 2), 2)
    scored = score_truth(records, "test", ["shown"], None, str(folder / "truth"))
    assert evaluate(scored["shown"])["user_auc"].value == 0


def test_its_scores_are_logits_of_the_requests_that_models_are_scored_on(folder, records):
    scored = score_truth(records, "validation", ["shown"], None, str(folder / "truth"))["shown"]
    other = score_baselines(records, "validation", ["shown"])["popularity"]["shown"]
    for name in ("users", "labels", "mask"):
        np.testing.assert_array_equal(getattr(scored, name), getattr(other, name))
    probability = 1 / (1 + np.exp(-scored.scores[scored.mask]))
    assert sorted(probability) == pytest.approx([0.1, 0.2, 0.6, 0.6, 0.7, 0.9])
    losses = [-math.log(p) for p in (0.6, 0.3, 0.8, 0.4, 0.9, 0.9)]
    assert evaluate(scored)["log_loss"].value == pytest.approx(np.mean(losses))


def test_a_task_without_a_truth(records, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"true probabilities of shown in .*shown\.parquet\. Found no"):
        score_truth(records, "validation", ["shown"], None, str(tmp_path))


def test_a_truth_of_nothing_that_is_evaluated(folder, records, tmp_path):
    truth = pl.read_parquet(folder / "truth/shown.parquet")
    truth.filter(pl.col("timestamp") < 100).write_parquet(tmp_path / "shown.parquet")
    with pytest.raises(ValueError, match=r"of validation and test in .*shown\.parquet\. Found none"):
        score_truth(records, "validation", ["shown"], None, str(tmp_path))


@pytest.mark.parametrize("column", ["user_id", "timestamp", "item_id"])
def test_the_truth_of_other_logs(folder, records, tmp_path, column):
    truth = pl.read_parquet(folder / "truth/shown.parquet")
    late = pl.col("timestamp") == 210
    other = {"user_id": pl.lit("eve"), "timestamp": pl.lit(211), "item_id": pl.lit("c")}[column]
    changed = pl.when(late & (pl.col("item_id") == "a")).then(other).otherwise(pl.col(column))
    truth.with_columns(changed.alias(column)).write_parquet(tmp_path / "shown.parquet")
    score_truth(records, "validation", ["shown"], None, str(tmp_path))
    with pytest.raises(ValueError, match=r"Found none for 1 of a batch, the first of user bob at 210\. Take the truth"):
        score_truth(records, "test", ["shown"], None, str(tmp_path))
