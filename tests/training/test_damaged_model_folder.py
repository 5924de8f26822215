"""A model folder or a backup with a flipped bit, or cut short, is read as the whole one is, or refused by name."""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from damage import damages

from atrank_tf.data import IdMaps, Records
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.training import (
    MODEL_FILE,
    VALUES_FILE,
    Backup,
    BestCheckpoint,
    load,
    load_model_for,
    load_training,
    train,
)

EXPERIMENT = experiment_from_dict(
    {
        "model": {"name": "bpr_mf", "tasks": ["next_purchase"], "hidden_dim": 8},
        "training": {"epochs": 1},
    }
)


class KeepBackup(keras.callbacks.Callback):  # type: ignore[misc]
    """Copies the backup aside, which a finished training removes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_end(self, logs: Any = None) -> None:
        shutil.copy(self.folder / "backup.npz", self.folder / "kept.npz")


@pytest.fixture(scope="module")
def trained(records: Records, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert train(records, EXPERIMENT, str(folder), callbacks=[KeepBackup(folder)])
    return folder


@pytest.fixture(scope="module")
def restore(trained: Path) -> Callable[[Path], list[np.ndarray]]:
    """Reads a backup into a compiled model; returns everything that came back."""
    model = load(str(trained))

    def run(folder: Path) -> list[np.ndarray]:
        checkpoint = BestCheckpoint(str(folder / MODEL_FILE), {})
        epoch = Backup(str(folder / "kept.npz"), checkpoint).restore(model)
        values = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
        return [np.array(json.dumps([epoch, checkpoint.state()])), *values]

    return run


def weights(folder: Path) -> list[np.ndarray]:
    model = load(str(folder))
    return [np.array(json.dumps(model.get_config())), *(weight.numpy() for weight in model.weights)]


def values(folder: Path) -> list[np.ndarray]:
    found = IdMaps.load(str(folder / VALUES_FILE))
    return [np.array([*found.ids, *found.tables]), *found.ids.values(), *found.tables.values()]


def training(folder: Path) -> list[np.ndarray]:
    found = load_training(str(folder))
    return [np.array(json.dumps({key: found[key] for key in ("experiment", "records", "history", "best")}))]


def check(folder: Path, name: str, read: Callable[[Path], list[np.ndarray]], count: int) -> None:
    whole = read(folder)
    content = (folder / name).read_bytes()
    refused = 0
    try:
        for done, damaged in damages(content, count):
            (folder / name).write_bytes(damaged)
            try:
                found = read(folder)
            except ValueError as error:
                refused += 1
                assert f"{folder}/{name}" in str(error), done
                assert "Train again" in str(error) or "Remove it" in str(error), done
            else:
                for one, other in zip(found, whole, strict=True):
                    np.testing.assert_array_equal(one, other, err_msg=done)
    finally:
        (folder / name).write_bytes(content)
    assert refused > count


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "read"), [(VALUES_FILE, values), ("training.json", training)])
def test_damaged_values_and_histories(trained: Path, name: str, read: Any, count: int) -> None:
    check(trained, name, read, count)


def test_checksums_of_a_model_are_compared_by_whoever_reads_it(trained: Path) -> None:
    """Not left to zipfile, which since Python 3.12 compares none where a file is read in parts."""
    path = trained / MODEL_FILE
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        weights = archive.getinfo("model.weights.h5")
    damaged = bytearray(content)
    damaged[weights.header_offset + weights.file_size // 2] ^= 1
    try:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.weights\.h5 has another checksum than when it was written"):
            load(str(trained))
    finally:
        path.write_bytes(content)


def test_a_model_scores_no_records_whose_rows_mean_something_else(trained: Path, records: Records) -> None:
    assert load_model_for(records, str(trained)).name == "bpr_mf"
    path = trained / VALUES_FILE
    content, found = path.read_bytes(), IdMaps.load(str(path))
    ids = {name: values[::-1] for name, values in found.ids.items()}
    try:
        replace(found, ids=ids).save(str(path))
        with pytest.raises(ValueError, match=r"Of the ids of entity 'coupon' row 2 is .* in the model"):
            load_model_for(records, str(trained))
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("count", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_a_damaged_model(trained: Path, count: int) -> None:
    check(trained, MODEL_FILE, weights, count)


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_damaged_backup(trained: Path, restore: Any, count: int) -> None:
    check(trained, "kept.npz", restore, count)


def test_something_else_is_not_taken_for_a_model_a_backup_or_values(
    trained: Path, restore: Any, tmp_path: Path
) -> None:
    np.savez(tmp_path / "kept.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"kept\.npz is the backup of another model\."):
        restore(tmp_path)
    shutil.copy(tmp_path / "kept.npz", tmp_path / VALUES_FILE)
    with pytest.raises(ValueError, match=r"Expected the raw values of a model in .*values\.npz\. Found: 'a'\."):
        values(tmp_path)
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(tmp_path / MODEL_FILE)
    with pytest.raises(ValueError, match=r"Expected a model of this package at .*model\.keras\. Found: Sequential\."):
        load(str(tmp_path))
    (tmp_path / "training.json").write_text('{"experiment": {}}')
    with pytest.raises(ValueError, match=r"Expected a training in .*json\. Missing: \['finished', 'records'\]\."):
        load_training(str(tmp_path))


def test_a_training_on_damaged_records_does_not_begin(records: Records, tmp_path: Path) -> None:
    copy = shutil.copytree(records.path, tmp_path / "records")
    path = copy / "timelines-00001-of-00008.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} is damaged, or of other records\."):
        train(Records(str(copy)), EXPERIMENT, str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()
