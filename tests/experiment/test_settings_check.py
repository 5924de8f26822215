"""A setting that would have no effect is an error that says why; and with its default nothing is said."""

from pathlib import Path
from typing import Any

import pytest

from atrank_tf.data import Records
from atrank_tf.experiment import check_settings, dump_experiment, experiment_from_dict, load_experiment
from atrank_tf.schema import Schema, schema_from_dict
from atrank_tf.training import train


@pytest.mark.parametrize(
    ("name", "section", "setting", "expected"),
    [
        (
            "timeline_atrank",
            "batching",
            {"batch_size": 32},
            r"batch_size in \[batching\] has no .* batch_tokens is the",
        ),
        (
            "timeline_atrank",
            "batching",
            {"temperature": 2.0},
            r"temperature in \[batching\] has no .* weighs them\. Received: temperature=2\.0\. Leave it out",
        ),
        (
            "bpr_mf",
            "model",
            {"hidden_units": [8]},
            r"hidden_units in \[model\] .* head \"dnn\".*hidden_units=\[8\]\. L",
        ),
        ("atrank", "model", {"ranking": ["dot"], "hidden_units": [8]}, r"hidden_units .*, which is not in ranking"),
        ("atrank", "model", {"ranking": ["dot"], "normalize_counts": True}, r"normalize_counts .*, which is not in r"),
        (
            "bpr_mf",
            "model",
            {"combine": "concat"},
            r"combine .* \"bpr_mf\" reads no behaviors\. Received: combine='con",
        ),
        ("atrank", "training", {"decay": 0.5}, r"decay in \[training\] .*: decay_at names no share"),
    ],
)
def test_a_file_with_a_setting_without_effect(
    tmp_path: Path, name: str, section: str, setting: dict[str, Any], expected: str
) -> None:
    raw: dict[str, dict[str, Any]] = {"model": {"name": name}}
    raw[section] = raw.get(section, {}) | setting
    path = tmp_path / "experiment.toml"
    path.write_text(dump_experiment(experiment_from_dict(raw)))
    with pytest.raises(ValueError, match=rf"{expected}.*\(in .*experiment\.toml\)$"):
        load_experiment(str(path))


@pytest.mark.parametrize("name", ["atrank", "timeline_atrank", "bpr_mf"])
def test_a_file_with_every_key_at_its_default(tmp_path: Path, name: str, records: Records) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(dump_experiment(experiment_from_dict({"model": {"name": name}})))
    check_settings(load_experiment(str(path)), records.schema)


def test_a_file_with_a_weight_of_a_task_that_it_does_not_train(tmp_path: Path, records: Records) -> None:
    raw: dict[str, dict[str, Any]] = {"model": {"name": "atrank"}, "training": {"task_weights": {"next_purchse": 2.0}}}
    message = r"Unknown task 'next_purchse' in \[training\.task_weights\]\. Did you mean \"next_purchase\"\?"
    any_task = experiment_from_dict(raw)
    check_settings(any_task)
    with pytest.raises(ValueError, match=message):
        check_settings(any_task, records.schema)
    path = tmp_path / "experiment.toml"
    raw["model"]["tasks"] = ["next_purchase"]
    path.write_text(dump_experiment(experiment_from_dict(raw)))
    with pytest.raises(ValueError, match=rf"{message}.*\(in .*experiment\.toml\)$"):
        load_experiment(str(path))


def _schema(**task: Any) -> Schema:
    return schema_from_dict(
        {
            "tables": {"item": {"dim": 2}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"click": {"entity": "item", "actions": ["view"]}},
            "tasks": {"next": {"group": "click", **task}},
        }
    )


@pytest.mark.parametrize(
    ("section", "setting", "expected"),
    [
        ("batching", {"negatives": 3}, r"negatives in \[batching\] .* are impressions, so none are sampled"),
        ("batching", {"correct_sampling": True}, r"correct_sampling .*, so none are sampled"),
        ("batching", {"min_history": 2}, r"min_history .*, of which all are trained on"),
    ],
)
def test_what_is_of_sampled_negatives_needs_some(section: str, setting: dict[str, Any], expected: str) -> None:
    experiment = experiment_from_dict({"model": {"name": "atrank"}, section: setting})
    with pytest.raises(ValueError, match=expected):
        check_settings(experiment, _schema(candidates="impressions"))
    check_settings(experiment, _schema(negatives={"uniform": 1}))


def test_one_task_has_the_epoch_to_itself(records: Records) -> None:
    raw = {"model": {"name": "atrank"}, "batching": {"temperature": 2.0}}
    check_settings(experiment_from_dict(raw), records.schema)
    one = experiment_from_dict(raw | {"model": {"name": "atrank", "tasks": ["next_purchase"]}})
    with pytest.raises(ValueError, match=r"temperature in \[batching\] has no effect: there is one task, which has"):
        check_settings(one, records.schema)


def test_a_training_begins_with_the_check(records: Records, tmp_path: Path) -> None:
    one = {"model": {"name": "atrank", "tasks": ["next_redemption"]}, "batching": {"negatives": 2}}
    with pytest.raises(ValueError, match=r"negatives in \[batching\] has no effect"):
        train(records, experiment_from_dict(one), str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()
