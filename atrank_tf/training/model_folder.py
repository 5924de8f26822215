"""The model folder: what a training leaves, and everything after it reads.

model.keras                 the model
values.npz                  the raw ids and values behind its rows
schema.toml                 the schema of the records, with its sizes
experiment.toml             the experiment, every key in it
training.json               experiment, fingerprint of the records, what it began with, environment, history
metrics_<split>.json        what `python -m atrank_tf.evaluate` found; beside it metrics_<split>_catalog.json
evaluation.html             the same as a page, with requests by kind and by name
"""

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from atrank_tf.data import IdMaps, Records
from atrank_tf.experiment import Experiment, dump_experiment, experiment_from_dict
from atrank_tf.files import file_checksum, json_types, load_json, write_json, write_text
from atrank_tf.models import Ranker
from atrank_tf.schema import dump_schema
from atrank_tf.training.environment import environment

MODEL_FILE = "model.keras"
"""The model that a training keeps, in a model folder."""
TRAINING_FILE = "training.json"
"""What was trained, on what, and how it went, in a model folder."""
VALUES_FILE = "values.npz"
"""The raw ids and values behind the model's rows, in a model folder."""
_TRAIN_AGAIN = "Train again in another folder, or bring back a copy of the file."


def load(path: str) -> Ranker:
    """Loads a trained model: the best one of a model folder, or the one that `model.save` wrote.

    Args:
        path: a model folder, or a `.keras` file.

    Raises:
        FileNotFoundError: there is no model.
        ValueError: the file is damaged, or holds no model of this package.
    """
    path = _model_path(path)
    try:
        _check(path)
        model: Ranker = keras.saving.load_model(path)
    except Exception as error:  # Keras, zipfile and h5py have many kinds of errors for a damaged file.
        reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        raise ValueError(
            f"{path} is damaged, or of another version of this package: {reason}. {_TRAIN_AGAIN}"
        ) from error
    if not isinstance(model, Ranker):
        raise ValueError(f"Expected a model of this package at {path}. Found: {type(model).__name__}. {_TRAIN_AGAIN}")
    return model


def load_model_for(records: Records, model_dir: str) -> Ranker:
    """Loads the best model of a model folder, and checks that it fits the records that it is to score.

    Lines on the log say if its training is unfinished, or was on other records.

    Raises:
        FileNotFoundError: the folder holds no model.
        ValueError: a file is damaged, or the records have another schema, or other ids behind their rows.
    """
    warn_if_unfinished(model_dir)
    if records.manifest["fingerprint"] != load_training(model_dir)["records"]:
        logging.warning("%s was trained on other records than %s.", model_dir, records.path)
    model = load(model_dir)
    model.check_schema(records.schema)
    IdMaps.load(f"{model_dir}/{VALUES_FILE}").check_records(records)
    return model


def model_checksum(model_dir: str) -> str:
    """Returns the checksum of the best model of a model folder.

    Raises:
        FileNotFoundError: the folder holds no model.
    """
    return file_checksum(_model_path(model_dir))


def _model_path(model_dir: str) -> str:
    path = model_dir if model_dir.endswith(".keras") else f"{model_dir}/{MODEL_FILE}"
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(f"Expected a trained model at {path}. Found none: run `python -m atrank_tf.train`.")
    return path


def _check(path: str) -> None:
    """Compares the checksums of a .keras file, which since Python 3.12 nobody does who reads only parts of it."""
    with tf.io.gfile.GFile(path, "rb") as file, zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{damaged} has another checksum than when it was written")


def load_training(model_dir: str) -> dict[str, Any]:
    """Returns what `training.json` of a model folder holds.

    Raises:
        FileNotFoundError: the folder holds no training.
        ValueError: the file is damaged.
    """
    path = f"{model_dir}/{TRAINING_FILE}"
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(f"Expected a training at {path}. Found none: run `python -m atrank_tf.train`.")
    training = load_json(path, _TRAIN_AGAIN)
    missing = {"experiment", "records", "finished"} - training.keys()
    if missing:
        raise ValueError(f"Expected a training in {path}. Missing: {sorted(missing)}. {_TRAIN_AGAIN}")
    return training


def warn_if_unfinished(model_dir: str) -> None:
    """Logs a line if the training of a model folder is unfinished.

    Raises:
        FileNotFoundError: the folder holds no training.
        ValueError: the file is damaged.
    """
    if not load_training(model_dir)["finished"]:
        logging.warning("%s holds an unfinished training: this is its best model until now.", model_dir)


def load_trained_experiment(model_dir: str) -> Experiment:
    """Returns the experiment that a model folder holds.

    Raises:
        FileNotFoundError: the folder holds no training.
    """
    return experiment_from_dict(load_training(model_dir)["experiment"])


def holds_finished(model_dir: str, identity: Mapping[str, Any]) -> bool:
    """Returns whether the folder holds this training, finished.

    Args:
        model_dir: the folder.
        identity: `experiment`, `records` and `warm_start`, as `training.json` has them.

    Raises:
        ValueError: the folder holds another training.
    """
    if not tf.io.gfile.exists(f"{model_dir}/{TRAINING_FILE}"):
        return False
    found = load_training(model_dir)
    for key, what in (
        ("experiment", "another experiment"),
        ("records", "the same experiment on other records"),
        ("warm_start", "the same training from another start"),
    ):
        if found.get(key) != json.loads(json.dumps(identity[key])):
            raise ValueError(f"{model_dir} holds {what}. Name another --model_dir, or remove it.")
    return bool(found["finished"])


def write_inputs(model_dir: str, records: Records, experiment: Experiment) -> None:
    """Writes down what a model is made of: the raw values, the schema and the experiment."""
    IdMaps.of(records).save(f"{model_dir}/{VALUES_FILE}")
    write_text(f"{model_dir}/schema.toml", dump_schema(records.schema))
    write_text(f"{model_dir}/experiment.toml", dump_experiment(experiment))


def write_metrics(
    model_dir: str, split: str, checksum: str, records: Records, metrics: Mapping[str, Any], against: str | None = None
) -> dict[str, Any]:
    """Writes the metrics of a split into the model folder, with what they were measured on.

    A folder that cannot be written is no reason to lose them: then a line on the log says so.

    Args:
        model_dir: the folder.
        split: validation or test; `evaluate` adds of what candidates, where they are not the task's own.
        checksum: of the model, taken before it was loaded: a training that goes on may replace the file.
        records: what was scored.
        metrics: model or baseline -> task -> metric -> numbers.
        against: checksum of the model that they are compared with; None for none.

    Returns:
        The metrics as JSON types: NaN is None.
    """
    found: dict[str, Any] = json_types(metrics)
    content = {
        "model": checksum,
        "against": against,
        "records": records.manifest["fingerprint"],
        "environment": environment(),
        "metrics": found,
    }
    path = f"{model_dir}/metrics_{split}.json"
    try:
        write_json(path, content)
    except tf.errors.OpError as error:
        logging.warning("%s is not written: %s", path, error.message)
    return found
