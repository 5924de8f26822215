"""Trains the model of an experiment on records, in a model folder."""

import sys
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from atrank_tf.data import IdMaps, Part, Records
from atrank_tf.data.chunk_reading import task_names
from atrank_tf.experiment import Experiment, Training, check_settings, experiment_to_dict
from atrank_tf.files import write_json
from atrank_tf.models import Ranker
from atrank_tf.report import check_parts, drift_warning, left_out_note, load_report
from atrank_tf.training.average_weights import AverageWeights
from atrank_tf.training.callbacks import Backup, BestCheckpoint, ProgressLines, SameRecords
from atrank_tf.training.data_parallel import BroadcastState, GlobalMetrics, training_share, validation_share
from atrank_tf.training.environment import environment
from atrank_tf.training.model_folder import (
    MODEL_FILE,
    TRAINING_FILE,
    holds_finished,
    load_trained_experiment,
    model_checksum,
    warn_if_unfinished,
    write_inputs,
)
from atrank_tf.training.new_model import compile_model, new_model, trained_part
from atrank_tf.training.warm_start import warm_start
from atrank_tf.training.workers import ALONE, Workers


def train(
    records: Records,
    experiment: Experiment,
    model_dir: str,
    *,
    warm_start_dir: str = "",
    callbacks: Sequence[Any] = (),
    workers: Workers = ALONE,
) -> bool:
    """Trains a model, going on where an interrupted training of the same experiment stopped.

    The folder then holds what `atrank_tf.training.model_folder` says, `model.keras` of the epoch that `EpochChoice`
    finds best on validation (under `include_validation`, of the last epoch), and `tensorboard/`. A line says why.

    Where the records' report finds the validation data unlike the training data, a line on the log says so.

    Args:
        records: a records folder.
        experiment: what is trained.
        model_dir: the model folder.
        warm_start_dir: model folder of an earlier training, whose weights this one begins with
            (`atrank_tf.training.warm_start`); "" for none.
        callbacks: more Keras callbacks, of the chief alone.
        workers: who train together, each calling this function. Sizes of batches are shared out among them. Only the
            chief reads and writes the folder.

    Returns:
        Whether anything was trained; False if the folder already holds this experiment, trained on these records.

    Raises:
        FileNotFoundError: there is no model to begin with.
        ValueError: a setting has no effect; or there are no epochs, and no model to begin with; or there is nothing to
            validate on; or the folder holds another experiment, or one trained on other records or from another start;
            or the earlier model does not fit; or there are fewer files of records than workers; or a file of the
            records, or the backup of an interrupted training, is damaged.
    """
    settings = experiment.training
    if not settings.epochs and (not warm_start_dir or workers.number > 1):
        raise ValueError(
            "epochs = 0 in [training] takes over the weights of an earlier model as they are, in one process. "
            f"Received: warm_start={warm_start_dir!r}, processes: {workers.number}."
        )
    records = records.select(experiment.model.groups, affinity=experiment.model.reads_affinity)
    report = load_report(records.path)
    tasks = task_names(records.schema, experiment.model.tasks)
    check_settings(experiment, records.schema)
    if settings.epochs and not settings.include_validation:
        check_parts(report, records.schema, tasks, [Part.VALIDATION], records.path)
    own_records = records.of_worker(workers.rank, workers.number)
    identity: dict[str, Any] = {
        "experiment": experiment_to_dict(experiment),
        "records": records.manifest["fingerprint"],
        "warm_start": model_checksum(warm_start_dir) if warm_start_dir and workers.is_chief else None,
    }
    backup_file = f"{model_dir}/backup.npz"
    if workers.broadcast(lambda: holds_finished(model_dir, identity)):
        if workers.is_chief and tf.io.gfile.exists(backup_file):  # Killed after the training, before it was removed.
            tf.io.gfile.remove(backup_file)
        return False
    own_records.verify()

    # === Model ===
    keras.utils.set_random_seed(settings.seed)
    if workers.is_chief:
        tf.io.gfile.makedirs(model_dir)
        write_inputs(model_dir, records, experiment)
    model = new_model(records, own_records, experiment, workers)
    batches = training_share(own_records, experiment, model, workers)
    if workers.broadcast(lambda: not tf.io.gfile.exists(backup_file)):
        if settings.epochs:
            model.adapt(batches)
        if warm_start_dir and workers.is_chief:
            _begin_with(warm_start_dir, model, records, settings)
        elif not warm_start_dir and settings.embeddings_initializer == "co_occurrence":
            model.initialize_tables(own_records, trained_part(settings), workers.total)
    average = AverageWeights(settings.first_averaged)
    average.set_model(model)
    aucs = compile_model(model, settings, steps=settings.epochs * batches.steps, workers=workers)

    # === What an interrupted training has done ===
    checkpoint = BestCheckpoint(f"{model_dir}/{MODEL_FILE}", aucs, settings.patience, average.first)
    backup = Backup(backup_file, checkpoint, average)
    done = workers.broadcast(lambda: backup.restore(model))
    nothing_left = done >= settings.epochs or workers.broadcast(lambda: done > 0 and checkpoint.choice.out_of_patience)

    # === Fit ===
    chief_callbacks: list[Any] = []
    if workers.is_chief:
        if not settings.include_validation and (warning := drift_warning(report, model.tasks)):
            logging.warning("%s See %s/report.html.", warning, records.path)
        if note := left_out_note(report, records.schema, model.tasks, experiment.batching.min_history):
            logging.info("%s", note)
        identity |= {"environment": environment()}
        write_json(f"{model_dir}/{TRAINING_FILE}", {**identity, "finished": False})  # From here on the folder is taken.
        chief_callbacks = [checkpoint, keras.callbacks.TensorBoard(f"{model_dir}/tensorboard"), *callbacks, backup]
        if not sys.stdout.isatty():
            chief_callbacks.insert(0, ProgressLines())
    if not settings.epochs:
        checkpoint.keep(model)
    elif not nothing_left:
        validation = None if settings.include_validation else validation_share(own_records, experiment, model, workers)
        model.fit(
            batches,
            validation_data=validation,
            epochs=settings.epochs,
            initial_epoch=done,
            callbacks=[
                SameRecords(records),
                GlobalMetrics(workers),
                average,
                *chief_callbacks,
                BroadcastState(workers, average),
            ],
            verbose=(1 if sys.stdout.isatty() else 2) if workers.is_chief else 0,
        )
    if workers.is_chief:
        write_json(f"{model_dir}/{TRAINING_FILE}", {**identity, "finished": True, **checkpoint.summary()})
        if settings.epochs:
            sys.stdout.write(f"{checkpoint.choice.reason()}\n")
            tf.io.gfile.remove(backup_file)
    workers.broadcast(lambda: 0)  # Waits for all: a worker that leaves earlier would count as failed.
    return True


def _begin_with(warm_start_dir: str, model: Ranker, records: Records, settings: Training) -> None:
    warn_if_unfinished(warm_start_dir)
    found = warm_start(model, IdMaps.of(records), warm_start_dir)
    sys.stdout.write(f"Begins with the weights of {warm_start_dir}:\n{found}\n")
    if load_trained_experiment(warm_start_dir).training.include_validation and not settings.include_validation:
        logging.warning(
            "%s was trained on its validation targets too: validation here may have them, and look too good.",
            warm_start_dir,
        )
