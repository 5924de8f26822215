"""What is kept after each epoch, and that a training goes on from it as if nothing had happened."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Records
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.losses import PointwiseCrossentropy
from atrank_tf.metrics import RequestAUC, request_auc_by_task
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema
from atrank_tf.training import MODEL_FILE, Backup, BestCheckpoint, train

ROWS, WIDTH, HIDDEN, N = 11, 3, 5, 7
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(ROWS, WIDTH)).astype("float32")
LABELS = (RNG.random((ROWS, N)) < 0.4).astype("float32")


def _checkpoint(
    path: Path | str, model: Any = None, patience: int = 0, first_mean: int | None = None
) -> BestCheckpoint:
    """A checkpoint of the AUC of `model`, or of one that a test sets."""
    return BestCheckpoint(str(path), model.aucs if model else {"next": RequestAUC()}, patience, first_mean)


def _model(tasks: tuple[str, ...] = ("next",), hidden: int = HIDDEN, name: str = "hidden") -> Any:
    """A compiled model with dropout, named as in a process of its own."""
    keras.utils.clear_session(free_memory=False)  # To collect all garbage takes up to a second.
    keras.utils.set_random_seed(1)
    return _another_model(tasks, hidden, name)


def _another_model(tasks: tuple[str, ...] = ("next",), hidden: int = HIDDEN, name: str = "hidden") -> Any:
    inputs = keras.Input((WIDTH,), name="inputs")
    state = keras.layers.Dense(hidden, name=name)(inputs)
    state = keras.layers.Dropout(0.5, name="dropout")(state)
    model = keras.Model(inputs, {task: keras.layers.Dense(N, name=f"logits_{task}")(state) for task in tasks})
    aucs = request_auc_by_task(tasks)
    model.compile(keras.optimizers.Adam(0.05), PointwiseCrossentropy(), weighted_metrics=aucs, run_eagerly=True)
    model.aucs = {task: auc for task, (auc,) in aucs.items()}
    return model


def _fit(model: Any, callbacks: list[Any], epochs: int, done: int = 0) -> Any:
    labels = {task: LABELS if place == 0 else 1 - LABELS for place, task in enumerate(model.output)}
    data = (INPUTS, labels, {task: np.ones_like(LABELS) for task in labels})
    return model.fit(
        *data[:2],
        sample_weight=data[2],
        validation_data=data,
        batch_size=4,
        shuffle=False,
        epochs=epochs,
        initial_epoch=done,
        callbacks=callbacks,
        verbose=0,
    )


def _run(checkpoint: BestCheckpoint, aucs: list[float], first: int = 0) -> int:
    """Ends epochs with these validation AUCs, epoch `e` with all weights equal to `e`; returns how many it took."""
    model = _model()
    model.optimizer.build(model.trainable_variables)
    checkpoint.set_model(model)
    for epoch, auc in enumerate(aucs, first):
        checkpoint.on_epoch_begin(epoch)
        for weight in model.weights:
            weight.assign(np.full(weight.shape, epoch))
        _end_epoch(checkpoint, epoch, auc)
        if model.stop_training:
            break
    checkpoint.on_train_end()
    return epoch + 1


def _end_epoch(checkpoint: BestCheckpoint, epoch: int, auc: float) -> None:
    """Ends an epoch in which ten requests have one and the same AUC."""
    checkpoint.aucs["next"].requests.assign([1.0] * 10 + [0.0] * 22)
    checkpoint.aucs["next"].totals.assign([auc] * 10 + [0.0] * 22)
    checkpoint.on_test_end()
    checkpoint.on_epoch_end(epoch, {"loss": 1.0, "auc": 1.0 - auc, "val_auc": auc, "val_loss": auc})


def _kept_epoch(path: Path) -> float:
    values = {float(value) for weight in keras.saving.load_model(path).weights for value in np.ravel(weight)}
    assert len(values) == 1
    return values.pop()


# --- BestCheckpoint


@pytest.mark.parametrize(
    ("aucs", "best"), [([0.5, 0.7, 0.6], 1), ([0.9, 0.2, 0.3], 0), ([0.1, 0.2, 0.3], 2), ([0.4, 0.4, 0.4], 0)]
)
def test_the_model_of_the_first_best_epoch_is_kept(aucs: list[float], best: int, tmp_path: Path) -> None:
    checkpoint = _checkpoint(tmp_path / "model.keras")
    assert _run(checkpoint, aucs) == 3
    assert checkpoint.summary()["best_epoch"] == best
    assert checkpoint.summary()["best"] == pytest.approx(aucs[best])
    assert _kept_epoch(tmp_path / "model.keras") == best


def test_nothing_but_the_whole_model_is_left_in_the_folder(tmp_path: Path) -> None:
    _run(_checkpoint(tmp_path / "model.keras"), [0.5, 0.7])
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    ("patience", "aucs", "epochs"),
    [
        (0, [0.9, 0.1, 0.1, 0.1, 0.1], 5),
        (1, [0.9, 0.1, 0.1, 0.1, 0.1], 2),
        (2, [0.9, 0.1, 0.1, 0.1, 0.1], 3),
        (2, [0.5, 0.4, 0.6, 0.6, 0.6], 5),
        (3, [0.5, 0.4, 0.4, 0.6, 0.1], 5),
    ],
)
def test_training_stops_after_so_many_epochs_without_a_better_one(
    patience: int, aucs: list[float], epochs: int, tmp_path: Path
) -> None:
    assert _run(_checkpoint(tmp_path / "model.keras", patience=patience), aucs) == epochs


def test_patience_begins_with_its_first_epoch(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    assert _run(_checkpoint(path, patience=2, first_mean=3), [0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]) == 5
    assert _run(_checkpoint(path, patience=2, first_mean=3), [0.5, 0.1, 0.1, 0.1, 0.6, 0.1, 0.1]) == 7


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training_and_leaves_the_best_model(loss: float, tmp_path: Path) -> None:
    checkpoint = _checkpoint(tmp_path / "model.keras")
    _run(checkpoint, [0.5])
    with pytest.raises(ValueError, match=r"Expected a finite loss\. Found (nan|inf) in epoch 1: a lower learning_rate"):
        checkpoint.on_epoch_end(1, {"loss": loss, "val_auc": 0.9})
    assert _kept_epoch(tmp_path / "model.keras") == 0
    assert [entry["epoch"] for entry in checkpoint.history] == [0]


def test_the_history_has_the_logs_of_each_epoch_as_plain_numbers(tmp_path: Path) -> None:
    checkpoint = _checkpoint(tmp_path / "model.keras")
    checkpoint.set_model(_model())
    checkpoint.on_epoch_end(3, {"loss": np.float32(0.5), "val_auc": tf.constant(0.25)})
    assert checkpoint.history == [{"epoch": 3, "loss": 0.5, "val_auc": 0.25}]  # No AUC of validation was seen.
    assert {type(value) for value in checkpoint.history[0].values()} == {int, float}


def test_a_restored_checkpoint_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    aucs = [0.5, 0.7, 0.6, 0.65, 0.1]
    whole = _checkpoint(tmp_path / "whole.keras", patience=2)
    first = _checkpoint(tmp_path / "parts.keras", patience=2)
    second = _checkpoint(tmp_path / "parts.keras", patience=2)
    assert _run(whole, aucs) == 4
    _run(first, aucs[:3])
    second.restore(json.loads(json.dumps(first.state())))
    assert _run(second, aucs[3:], first=3) == 4
    assert second.state() == whole.state()
    assert _kept_epoch(tmp_path / "parts.keras") == _kept_epoch(tmp_path / "whole.keras") == 1


def test_where_no_request_has_an_auc_the_least_validation_loss_is_kept(tmp_path: Path) -> None:
    model = _model()
    checkpoint = _checkpoint(tmp_path / "model.keras", model)
    data = (INPUTS, {"next": np.ones_like(LABELS)}, {"next": np.ones_like(LABELS)})
    history = model.fit(*data[:2], validation_data=data, epochs=3, callbacks=[checkpoint], verbose=0).history
    assert np.isnan(history["val_auc"]).all()
    summary = checkpoint.summary()
    assert summary["best_epoch"] == int(np.argmin(history["val_loss"])) == 2
    assert summary["best"] == pytest.approx(-history["val_loss"][2])


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    model = _model()
    checkpoint = _checkpoint(tmp_path / "model.keras", model)
    model.fit(INPUTS, {"next": LABELS}, epochs=3, callbacks=[checkpoint], verbose=0)
    assert checkpoint.summary()["best_epoch"] == 2
    kept = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(kept.weights[0], model.weights[0])


@pytest.mark.parametrize("tasks", [("next",), ("next", "other")])
def test_what_is_chosen_by_is_what_fit_validates(tasks: tuple[str, ...], tmp_path: Path) -> None:
    model = _model(tasks)
    checkpoint = _checkpoint(tmp_path / "model.keras", model)
    history = _fit(model, [checkpoint], epochs=2).history
    for epoch, validated in enumerate(checkpoint.choice.epochs):
        assert set(validated.aucs) == set(tasks)
        for task, auc in validated.aucs.items():
            name = f"val_{task}_auc" if len(tasks) > 1 else "val_auc"
            assert auc.mean == pytest.approx(history[name][epoch], rel=1e-6)
            assert sum(auc.requests) == ROWS - 1  # One request has no AUC.
            assert checkpoint.history[epoch][f"{name}_standard_error"] == auc.standard_error > 0


# --- Backup


def _trained(folder: Path, epochs: int, model: Any = None, done: int = 0) -> tuple[Any, Backup]:
    model = model or _model()
    backup = Backup(str(folder / "backup.npz"), _checkpoint(folder / "model.keras", model))
    if done:
        assert backup.restore(model) == done
    _fit(model, [backup.checkpoint, backup], epochs, done)
    return model, backup


def _all_state(model: Any) -> list[np.ndarray]:
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    return [np.asarray(variable) for variable in (*own, *model.optimizer.variables)]


def _assert_same_state(first: Any, second: Any) -> None:
    assert len(_all_state(first)) == len(_all_state(second))
    for a, b in zip(_all_state(first), _all_state(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_backup_is_one_file(tmp_path: Path) -> None:
    _trained(tmp_path, epochs=2)
    assert {path.name for path in tmp_path.iterdir()} == {"backup.npz", "model.keras"}


def test_a_backup_restores_weights_optimizer_and_the_state_of_the_dropout_exactly(tmp_path: Path) -> None:
    trained, backup = _trained(tmp_path, epochs=2)
    fresh = _model()
    for weight in fresh.weights:
        weight.assign(np.full(weight.shape, 9.0))
    again = Backup(backup.path, _checkpoint(tmp_path / "model.keras"))
    assert again.restore(fresh) == 2
    _assert_same_state(fresh, trained)
    assert again.checkpoint.state() == backup.checkpoint.state()
    # Weights and biases of two layers, the dropout's state, Adam's step, rate and two slots for each weight.
    assert len(_all_state(fresh)) == 4 + 1 + 2 + 8
    assert int(fresh.optimizer.iterations) == 2 * 3
    dropped = [np.asarray(model(INPUTS, training=True)["next"]) for model in (fresh, trained)]
    np.testing.assert_array_equal(*dropped)


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_state_as_never_killed(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, whole_backup = _trained(tmp_path / "whole", epochs=4)
    _trained(tmp_path / "parts", epochs=1)
    _trained(tmp_path / "parts", epochs=3, done=1)
    parts, parts_backup = _trained(tmp_path / "parts", epochs=4, done=3)
    _assert_same_state(parts, whole)
    assert parts_backup.checkpoint.state() == whole_backup.checkpoint.state()
    assert [entry["epoch"] for entry in parts_backup.checkpoint.history] == [0, 1, 2, 3]


def test_a_backup_is_of_the_last_epoch_not_of_the_best(tmp_path: Path) -> None:
    backup = Backup(str(tmp_path / "backup.npz"), _checkpoint(tmp_path / "model.keras"))
    model = _model()
    for epoch, auc in enumerate([0.9, 0.1, 0.2]):
        backup.checkpoint.set_model(model)
        backup.set_model(model)
        _end_epoch(backup.checkpoint, epoch, auc)
        backup.on_epoch_end(epoch)
    again = Backup(backup.path, _checkpoint(tmp_path / "model.keras"))
    assert again.restore(_model()) == 3
    assert again.checkpoint.summary()["best_epoch"] == 0


@pytest.mark.parametrize("backed_up", [False, True])
def test_the_kept_model_is_of_an_epoch_that_the_backup_has(backed_up: bool, tmp_path: Path) -> None:
    """A training that is killed at the end of an epoch may come to another epoch when it goes on elsewhere."""
    file = tmp_path / "model.keras"
    backup, model = Backup(str(tmp_path / "backup.npz"), _checkpoint(file)), _model()
    model.optimizer.build(model.trainable_variables)
    backup.checkpoint.set_model(model)
    backup.set_model(model)
    _end_epoch(backup.checkpoint, 0, 0.5)
    backup.on_epoch_end(0)
    backup.checkpoint.on_epoch_begin(1)
    first = file.read_bytes()
    model.weights[0].assign(model.weights[0] + 1.0)
    _end_epoch(backup.checkpoint, 1, 0.7)
    if backed_up:
        backup.on_epoch_end(1)
    assert file.read_bytes() == first  # Killed here.
    again = Backup(backup.path, _checkpoint(file))
    assert again.restore(_model()) == again.checkpoint.summary()["best_epoch"] + 1 == (2 if backed_up else 1)
    again.checkpoint.on_epoch_begin(1)
    assert (file.read_bytes() == first) != backed_up
    assert (keras.saving.load_model(file).weights[0].numpy() == model.weights[0].numpy()).all() == backed_up


def test_without_a_file_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    model = _model()
    before = _all_state(model)
    backup = Backup(str(tmp_path / "backup.npz"), _checkpoint(tmp_path / "model.keras"))
    assert backup.restore(model) == 0
    assert backup.checkpoint.history == []
    for a, b in zip(before, _all_state(model), strict=False):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "inner"},
        {"tasks": ("next", "other")},
        {"hidden": HIDDEN + 2},
    ],
    ids=["names", "tasks", "shapes"],
)
def test_the_backup_of_another_model_is_refused_and_changes_nothing(changes: dict[str, Any], tmp_path: Path) -> None:
    _, backup = _trained(tmp_path, epochs=1)
    other = _model(**changes)
    before = [np.asarray(weight) for weight in other.weights]
    with pytest.raises(ValueError, match=r"backup\.npz is the backup of another model\. Name another folder"):
        Backup(backup.path, _checkpoint("model.keras")).restore(other)
    for a, b in zip(before, other.weights, strict=True):
        np.testing.assert_array_equal(a, np.asarray(b))


def test_a_backup_may_be_restored_in_a_process_that_built_models_before(tmp_path: Path) -> None:
    trained, backup = _trained(tmp_path, epochs=1)
    fresh = _another_model()
    assert Backup(backup.path, _checkpoint("model.keras")).restore(fresh) == 1
    _assert_same_state(fresh, trained)


def test_nothing_of_an_epoch_in_which_the_records_were_replaced_is_kept(
    logs: Path, records: Records, schema_file: Path, tmp_path: Path
) -> None:
    shutil.copytree(records.path, tmp_path / "records")
    shutil.copytree(logs, tmp_path / "logs")
    with (tmp_path / "logs/behaviors/purchase.csv").open("a") as file:
        file.write("u1,p1,regular,86400\n")
    schema = load_schema(str(schema_file))
    experiment = experiment_from_dict(
        {"model": {"name": "bpr_mf", "hidden_dim": 4, "tasks": ["next_purchase"]}, "training": {"epochs": 3}}
    )

    class Replaced(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            if epoch == 1:
                self.kept = (tmp_path / "model" / MODEL_FILE).stat().st_mtime_ns
                prepare(str(tmp_path / "logs"), schema, str(tmp_path / "records"))

    replaced = Replaced()
    with pytest.raises(ValueError, match=r"Expected the records that were opened, .* prepare has replaced them\."):
        train(Records(str(tmp_path / "records")), experiment, str(tmp_path / "model"), callbacks=[replaced])
    assert (tmp_path / "model" / MODEL_FILE).stat().st_mtime_ns == replaced.kept
