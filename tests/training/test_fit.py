"""Training in a folder: what it leaves, how it resumes, when it does nothing."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import pytest
from interrupted import BeforeTraining, Stop

from atrank_tf.data import IdMaps, Part, Popularity, Records, co_occurrence, evaluation_batches, training_batches
from atrank_tf.experiment import Experiment, experiment_from_dict, load_experiment
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema
from atrank_tf.training import (
    MODEL_FILE,
    VALUES_FILE,
    environment,
    load,
    load_trained_experiment,
    model_checksum,
    train,
    warn_if_unfinished,
)

EXPERIMENT = experiment_from_dict(
    {
        "model": {"name": "bpr_mf", "hidden_dim": 8, "hidden_units": [8], "dropout": 0.3, "id_dropout": 0.1}
        | {"ranking": ["dot", "dnn"], "normalize_counts": True},
        "batching": {"batch_size": 32},
        "training": {
            "epochs": 3,
            "learning_rate": 0.01,
            "warmup": 0.1,
            "decay_at": [0.6],
            "average_from": 0.3,
            "clip_norm": 1.0,
            "weight_decay": 0.5,
        },
    }
)
"""Dropout of two kinds, and soon traced. Self-attention is in `end_to_end/test_kills.py`."""
ONE_TASK = replace(EXPERIMENT, model=replace(EXPERIMENT.model, tasks=("next_purchase",)))
SLICED = replace(EXPERIMENT, training=replace(EXPERIMENT.training, slices=2))
"""In slices that do not wait for each other."""
SMALL = experiment_from_dict(
    {"model": {"name": "bpr_mf", "hidden_dim": 4, "tasks": ["next_purchase"]}, "training": {"epochs": 1}}
)
"""Soon traced: for what has nothing to do with the model."""


class LastWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights as they are when training ends, and one of them as the last step of each epoch left it."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.steps, self.ends = self.params["steps"], []
        self.watched = next(weight for weight in self.model.trainable_weights if weight.path.endswith("kernel"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.ends.append(self.watched.numpy())

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.ends[-1] = self.watched.numpy()

    def on_train_end(self, logs: Any = None) -> None:
        self.weights = [weight.numpy() for weight in self.model.weights]
        self.optimizer = [variable.numpy() for variable in self.model.optimizer.variables]


def _train(records: Records, folder: Path, experiment: Experiment = EXPERIMENT) -> LastWeights:
    last = LastWeights()
    assert train(records, experiment, str(folder), callbacks=[last])
    return last


def _begin(records: Records, experiment: Experiment, folder: Path) -> BeforeTraining:
    """A training before its first step."""
    before = BeforeTraining()
    with pytest.raises(InterruptedError):
        train(records, experiment, str(folder), callbacks=[before])
    return before


def _assert_equal(first: LastWeights, second: LastWeights) -> None:
    for a, b in zip(first.weights + first.optimizer, second.weights + second.optimizer, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def whole(records: Records, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LastWeights]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, _train(records, folder)


@pytest.fixture(scope="module")
def one_task(records: Records, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LastWeights]:
    folder = tmp_path_factory.mktemp("one_task")
    return folder, _train(records, folder, ONE_TASK)


@pytest.fixture(scope="module")
def sliced(records: Records, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LastWeights]:
    folder = tmp_path_factory.mktemp("sliced")
    return folder, _train(records, folder, SLICED)


@pytest.mark.parametrize(
    ("experiment", "never_killed", "kills", "begun"),
    [
        (ONE_TASK, "one_task", [(1, False)], [[0, 1]]),
        # Two tasks. Killed twice, resumed twice; what a callback did not end comes again.
        pytest.param(SLICED, "sliced", [(1, True), (2, False)], [[0, 1], [1, 2]], marks=pytest.mark.slow),
    ],
)
def test_8_killed_and_resumed_gives_the_same_weights_as_never_killed(
    request: pytest.FixtureRequest,
    records: Records,
    experiment: Experiment,
    never_killed: str,
    kills: list[tuple[int, bool]],
    begun: list[list[int]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = request.getfixturevalue(never_killed)
    stops = [Stop(epoch, at_end=at_end) for epoch, at_end in kills]
    for stop in stops:
        with pytest.raises(InterruptedError):
            train(records, experiment, str(tmp_path), callbacks=[stop])
    assert [stop.epochs for stop in stops] == begun
    warn_if_unfinished(str(tmp_path))
    assert "holds an unfinished training: this is its best model until now" in caplog.text
    caplog.clear()
    _assert_equal(_train(records, tmp_path, experiment), whole[1])
    warn_if_unfinished(str(tmp_path))
    assert "unfinished" not in caplog.text
    found, expected = (json.loads((folder / "training.json").read_text()) for folder in (tmp_path, whole[0]))
    assert [entry["epoch"] for entry in found["history"]] == [0, 1, 2]
    assert found == expected


def test_a_loss_of_pairs_asks_for_requests_of_several_candidates(logs: Path, schema_file: Path, tmp_path: Path) -> None:
    shutil.copytree(logs, tmp_path / "logs")
    shown = tmp_path / "logs/impressions/next_redemption.parquet"
    pl.read_parquet(shown).unique("request_id").write_parquet(shown)
    records = prepare(str(tmp_path / "logs"), load_schema(str(schema_file)), str(tmp_path / "records"))
    pairwise = replace(SMALL, training=replace(SMALL.training, loss="pairwise"))
    _begin(records, pairwise, tmp_path / "sampled")  # Negatives are sampled: there are pairs.
    both = replace(pairwise, model=replace(SMALL.model, tasks=()))
    match = r'in impressions/next_redemption for loss = "pairwise" .* Found 180 requests, each with one: use "po'
    with pytest.raises(ValueError, match=match):
        train(records, both, str(tmp_path / "both"))


@pytest.mark.slow
def test_another_seed_gives_other_weights(records: Records, tmp_path: Path) -> None:
    first, second, again = (
        _begin(records, replace(SMALL, training=replace(SMALL.training, seed=seed)), tmp_path / str(place)).begun
        for place, seed in enumerate((0, 1, 0))
    )
    for a, b, c in zip(first.trainable_weights, second.trainable_weights, again.trainable_weights, strict=True):
        np.testing.assert_array_equal(a, c)
        assert not np.any(a) or (a.numpy() != b.numpy()).any()


def test_the_folder_holds_the_best_model_and_all_that_an_export_needs(records: Records, whole: Any) -> None:
    folder, _ = whole
    assert {path.name for path in folder.iterdir()} == {
        MODEL_FILE,
        VALUES_FILE,
        "schema.toml",
        "experiment.toml",
        "training.json",
        "tensorboard",
    }
    state = json.loads((folder / "training.json").read_text())
    tasks = [f"val_{task}_auc" for task in records.schema.tasks]
    best = state["history"][state["best_epoch"]]
    assert min(best[name] for name in tasks) < state["best"] < max(best[name] for name in tasks)
    for name in tasks:  # Of an AUC of 1 none of whose requests is lost there is no error.
        assert all(epoch[f"{name}_standard_error"] > 0 or epoch[name] == 1 for epoch in state["history"])
        assert state["history"][0][f"{name}_standard_error"] > 0
    assert state["reason"].startswith(f"Epoch {state['best_epoch']} of 0 to 2 is kept: validation AUC ")
    assert load(str(folder)).get_config()["config"]["hidden_dim"] == 8
    assert load(str(folder / "model.keras")).get_config()["config"]["hidden_dim"] == 8
    assert load_trained_experiment(str(folder)) == load_experiment(str(folder / "experiment.toml")) == EXPERIMENT
    assert load_schema(str(folder / "schema.toml")) == records.schema
    assert state["records"] == records.manifest["fingerprint"]
    assert state["environment"] == environment()
    values = IdMaps.load(str(folder / VALUES_FILE))
    np.testing.assert_array_equal(values.ids["product"], records.catalogs["product"].ids)
    assert set(values.tables) == set(records.schema.tables)


def test_the_kept_model_is_the_one_that_was_validated_on_the_validation_part(records: Records, whole: Any) -> None:
    state = json.loads((whole[0] / "training.json").read_text())
    batches = evaluation_batches(records, Part.VALIDATION, settings=EXPERIMENT.batching)
    found = load(str(whole[0])).evaluate(batches, verbose=0, return_dict=True)
    expected = state["history"][state["best_epoch"]]
    assert found == {name: pytest.approx(expected[f"val_{name}"], rel=1e-4) for name in found}
    assert {"loss", "next_purchase_auc", "next_redemption_auc"} <= set(found)


def test_the_mean_of_the_ends_of_epochs_is_what_training_leaves(whole: Any) -> None:
    last, first = whole[1], EXPERIMENT.training.first_averaged
    assert (first, len(last.ends)) == (1, 3)
    np.testing.assert_allclose(last.watched.numpy(), np.mean(last.ends[first:], axis=0), rtol=1e-5, atol=1e-6)
    assert np.abs(last.watched.numpy() - last.ends[-1]).max() > 1e-3


def test_4_what_is_trained_on_and_counted_is_one_part_or_two(
    records: Records, whole: Any, tmp_path: Path, chosen_popularity: Callable[..., Popularity]
) -> None:
    last = replace(SMALL, model=replace(SMALL.model, ranking=("dot", "dnn")), batching=EXPERIMENT.batching)
    settings = replace(last.training, include_validation=True)
    before = _begin(records, replace(last, training=settings), tmp_path)
    both = Part.TRAINING_AND_VALIDATION
    sizes: dict[str, Any] = {"settings": EXPERIMENT.batching}
    assert whole[1].steps == training_batches(records, **sizes).steps
    sizes |= {"tasks": before.begun.tasks}
    one, two = (training_batches(records, **sizes, part=part).steps for part in (Part.TRAINING, both))
    assert one < two == before.steps
    for model, part in ((load(str(whole[0])), Part.TRAINING), (before.begun, both)):
        for task in model.tasks:
            layer = model.get_layer(f"popularity_{task}")
            begins, counts = chosen_popularity(records, task, part=part)
            np.testing.assert_array_equal(layer.begins, begins)
            np.testing.assert_array_equal(layer.counts, counts)


def test_it_learns(whole: Any) -> None:
    history = json.loads((whole[0] / "training.json").read_text())["history"]
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]


def test_a_finished_training_is_current_and_another_one_is_refused(records: Records, whole: Any) -> None:
    folder, _ = whole
    assert not train(records, EXPERIMENT, str(folder))
    other = replace(EXPERIMENT, training=replace(EXPERIMENT.training, epochs=5))
    with pytest.raises(ValueError, match="holds another experiment"):
        train(records, other, str(folder))
    grown = Records(records.path)
    grown.manifest = {**records.manifest, "fingerprint": "another"}
    with pytest.raises(ValueError, match="holds the same experiment on other records"):
        train(grown, EXPERIMENT, str(folder))


def test_an_experiment_that_cannot_start_does_not_take_the_folder(records: Records, tmp_path: Path) -> None:
    wrong = replace(EXPERIMENT, model=replace(EXPERIMENT.model, tasks=("next_purchas",)))
    with pytest.raises(ValueError, match="Unknown task 'next_purchas'"):
        train(records, wrong, str(tmp_path))
    assert not (tmp_path / "training.json").exists()


def test_patience_ends_the_training(records: Records, tmp_path: Path) -> None:
    impatient = replace(SMALL, training=replace(SMALL.training, epochs=30, patience=1, learning_rate=1e-9))
    train(records, impatient, str(tmp_path))
    state = json.loads((tmp_path / "training.json").read_text())
    assert len(state["history"]) == state["best_epoch"] + 2 < 30


def test_validation_data_that_is_like_training_data_is_not_worth_a_word(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _begin(records, SMALL, tmp_path)
    assert "unlike" not in caplog.text


def test_validation_data_that_has_drifted_is_told_in_one_line(
    logs: Path, schema_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    schema = load_schema(str(schema_file))
    shutil.copytree(logs, tmp_path / "logs")
    purchases = pl.read_csv(logs / "behaviors/purchase.csv")
    late = pl.col("timestamp") >= schema.split.validation_from
    discounted = pl.when(late).then(pl.lit("discounted")).otherwise("action").alias("action")
    purchases.with_columns(discounted).write_csv(tmp_path / "logs/behaviors/purchase.csv")
    records = prepare(str(tmp_path / "logs"), schema, str(tmp_path / "records"))
    _begin(records, SMALL, tmp_path / "model")
    (line,) = (message for message in caplog.messages if "unlike" in message)
    assert line.startswith("Validation data is unlike training data: next_purchase, outcomes (PSI ")
    assert line.endswith(f"Expected a PSI of 0.25 at most. See {tmp_path}/records/report.html.")

    caplog.clear()
    last = replace(SMALL, training=replace(SMALL.training, include_validation=True))
    _begin(records, last, tmp_path / "last")
    other_task = replace(SMALL, model=replace(SMALL.model, tasks=("next_redemption",)))
    _begin(records, other_task, tmp_path / "other")
    assert "unlike" not in caplog.text


def test_an_empty_folder_has_no_model_to_load(tmp_path: Path) -> None:
    for read in (load, model_checksum):
        with pytest.raises(FileNotFoundError, match="Expected a trained model at"):
            read(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Expected a training at"):
        load_trained_experiment(str(tmp_path))


@pytest.mark.parametrize("initializer", ["co_occurrence", pytest.param("random", marks=pytest.mark.slow)])
def test_tables_begin_with_what_the_same_users_had(initializer: str, records: Records, tmp_path: Path) -> None:
    settings = {"epochs": 1, "learning_rate": 1e-12, "embeddings_initializer": initializer}
    model = {"name": "average_pooling", "hidden_dim": 4, "tasks": ["next_redemption"]}
    begun = _train(records, tmp_path, experiment_from_dict({"model": model, "training": settings}))
    table = begun.model.get_layer("table_product").embeddings.numpy()
    rows = {"product": records.catalogs["product"].table_rows[:, np.newaxis]}
    vectors = co_occurrence(records, ["next_redemption"], rows)["product"]
    known = vectors.any(axis=1)
    assert 10 < known.sum() < len(known)
    expected = 0.2 * vectors[known] * vectors.shape[1] ** 0.5
    if initializer == "co_occurrence":
        np.testing.assert_allclose(table[known], expected, atol=1e-6)
    else:
        assert np.abs(table[known] - expected).max() > 0.1
    assert 0.1 < table[~known].std() < 0.3


def test_a_table_that_the_model_does_not_read_begins_with_nothing(records: Records, tmp_path: Path) -> None:
    model = {"name": "bpr_mf", "hidden_dim": 4, "tasks": ["next_redemption"]}
    begun = _train(records, tmp_path, experiment_from_dict({"model": model, "training": {"epochs": 1}}))
    assert "table_product" not in {layer.name for layer in begun.model.layers}
