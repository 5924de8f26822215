"""Records and an experiment -> a trained model in its folder."""

import sys
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from atrank_tf.data import RawValues, Records, popularity, positive_counts
from atrank_tf.data.report import drift_warning, load_report
from atrank_tf.models import MODELS, Ranker
from atrank_tf.schema import Candidates, suggestion
from atrank_tf.training.average_weights import AverageWeights
from atrank_tf.training.callbacks import Backup, BestCheckpoint
from atrank_tf.training.divided_rows import divided_among
from atrank_tf.training.environment import environment
from atrank_tf.training.experiment import LOSSES, Experiment, Training, experiment_to_dict
from atrank_tf.training.follow_chief import FollowChief
from atrank_tf.training.global_metrics import GlobalMetrics
from atrank_tf.training.model_folder import (
    MODEL_FILE,
    TRAINING_FILE,
    holds_finished,
    load_trained_experiment,
    model_checksum,
    warn_if_unfinished,
    write_inputs,
    write_json,
)
from atrank_tf.training.request_auc import request_auc_by_task
from atrank_tf.training.settle_tables import SettleTables
from atrank_tf.training.shared_batches import training_part, training_share, validation_share
from atrank_tf.training.sparse_adam import SparseAdam
from atrank_tf.training.warm_start import warm_start
from atrank_tf.training.warm_up import WarmUp
from atrank_tf.training.whole_tables import WholeTables
from atrank_tf.training.workers import ALONE, Workers
from atrank_tf.training.xla_time import XlaTime


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

    The folder then holds what `atrank_tf.training.model_folder` says, `model.keras` of the best validation AUC (under
    `include_validation`, of the last epoch), and `tensorboard/`.

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
        ValueError: there are no epochs, and no model to begin with; or the folder holds another experiment, or one
            trained on other records or from another start; or the earlier model does not fit; or there are fewer files
            of records than workers; or a file of the records, or the backup of an interrupted training, is damaged.
    """
    settings = experiment.training
    if not settings.epochs and (not warm_start_dir or workers.number > 1):
        raise ValueError(
            "epochs = 0 in [training] takes over the weights of an earlier model as they are, in one process. "
            f"Received: warm_start={warm_start_dir!r}, processes: {workers.number}."
        )
    records = records.select(experiment.model.groups)
    share = records.of_worker(workers.index, workers.number)
    identity: dict[str, Any] = {
        "experiment": experiment_to_dict(experiment),
        "records": records.manifest["fingerprint"],
        "warm_start": model_checksum(warm_start_dir) if warm_start_dir and workers.is_chief else None,
    }
    backup_file = f"{model_dir}/backup.npz"
    if workers.chief_says(lambda: holds_finished(model_dir, identity)):
        if workers.is_chief and tf.io.gfile.exists(backup_file):  # Killed between the last two lines below.
            tf.io.gfile.remove(backup_file)
        return False
    records.verify()
    keras.utils.set_random_seed(settings.seed)
    if workers.is_chief:
        tf.io.gfile.makedirs(model_dir)
        write_inputs(model_dir, records, experiment)
    with divided_among(workers, least_rows=settings.divide_tables_of):
        model = MODELS[experiment.name](records.schema, experiment.model, records.catalogs, name=experiment.name)
    for task in model.tasks:
        if settings.start_at_popularity and records.schema.tasks[task].candidates is Candidates.SAMPLED:
            (counts,) = workers.sum([tf.constant(positive_counts(share, task, training_part(experiment)))])
            model.start_at_popularity(task, counts.numpy())
        if "popularity" in experiment.model.ranking:
            model.load_popularity(task, popularity(share, task, training_part(experiment), workers.total))
    if warm_start_dir and workers.is_chief and not tf.io.gfile.exists(backup_file):
        _begin_with(warm_start_dir, model, records, settings)
    average = AverageWeights(settings.first_averaged)
    average.set_model(model)
    checkpoint = BestCheckpoint(f"{model_dir}/{MODEL_FILE}", model.tasks, settings.patience, average.first or 0)
    backup = Backup(backup_file, checkpoint, average)
    batches = training_share(share, experiment, model, workers)
    compile_model(model, settings, steps=settings.epochs * batches.steps, workers=workers)
    done = workers.chief_says(lambda: backup.restore(model))
    writing: list[Any] = []
    if workers.is_chief:
        if not settings.include_validation and (warning := drift_warning(load_report(records.path), model.tasks)):
            logging.warning("%s See %s/report.html.", warning, records.path)
        identity |= {"environment": environment()}
        write_json(f"{model_dir}/{TRAINING_FILE}", {**identity, "finished": False})  # From here on the folder is taken.
        writing = [checkpoint, keras.callbacks.TensorBoard(f"{model_dir}/tensorboard"), *callbacks, backup]
    if not settings.epochs:
        checkpoint.keep(model)
    elif not done or not workers.chief_says(lambda: done >= settings.epochs or checkpoint.out_of_patience(done - 1)):
        model.fit(
            (training_share(share, experiment, model, workers, first_epoch=done) if done else batches).dataset,
            steps_per_epoch=batches.steps,
            shuffle=False,
            validation_data=None
            if settings.include_validation
            else validation_share(share, experiment, model, workers),
            epochs=settings.epochs,
            initial_epoch=done,
            callbacks=[
                SettleTables(),
                GlobalMetrics(workers),
                XlaTime(),
                average,
                WholeTables(average),
                *writing,
                FollowChief(workers, average),
            ],
            verbose=(1 if sys.stdout.isatty() else 2) if workers.is_chief else 0,
        )
    if workers.is_chief:
        write_json(f"{model_dir}/{TRAINING_FILE}", {**identity, "finished": True, **checkpoint.state()})
        if settings.epochs:
            tf.io.gfile.remove(backup.path)
    workers.chief_says(lambda: 0)  # Who leaves earlier passes for dead.
    return True


def _begin_with(warm_start_dir: str, model: Ranker, records: Records, settings: Training) -> None:
    warn_if_unfinished(warm_start_dir)
    found = warm_start(model, RawValues.of(records), warm_start_dir)
    sys.stdout.write(f"Begins with the weights of {warm_start_dir}:\n{found}\n")
    if load_trained_experiment(warm_start_dir).training.include_validation and not settings.include_validation:
        logging.warning(
            "%s was trained on its validation targets too: validation here may have them, and look too good.",
            warm_start_dir,
        )


def compile_model(model: Ranker, settings: Training, steps: int, workers: Workers = ALONE) -> None:
    """Compiles a model for `fit`: `SparseAdam` and loss as the experiment says, AUC for each task.

    `fit` then needs the callback `SettleTables`.

    Args:
        model: the model.
        settings: the experiment's [training].
        steps: steps of the whole training, of which `warmup` and `decay_at` name shares.
        workers: who share each batch.

    Raises:
        ValueError: a weight is of a task that the model has not.
    """
    for task in settings.task_weights:
        if task not in model.tasks:
            raise ValueError(f"Unknown task {task!r} in [training.task_weights]. {suggestion(task, model.tasks)}")
    optimizer = SparseAdam(
        _learning_rate(settings, steps),
        moments="dense",
        l2=settings.l2,
        global_clipnorm=settings.clip_norm or None,
        workers=workers,
    )
    optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if v.path.startswith("item_bias_")])
    optimizer.build(model.trainable_variables)
    model.slices, model.xla = settings.slices, settings.xla
    model.compile(
        optimizer=optimizer,
        loss={task: LOSSES[settings.loss](workers=workers) for task in model.tasks},
        loss_weights={task: settings.task_weights.get(task, 1.0) for task in model.tasks},
        weighted_metrics=request_auc_by_task(model.tasks),
    )


def _learning_rate(settings: Training, steps: int) -> Any:
    """Returns the learning rate of a training of so many steps: it rises, then falls in steps."""
    rate: Any = settings.learning_rate
    if settings.decay_at:
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            [int(share * steps) for share in settings.decay_at],
            [settings.learning_rate * settings.decay**times for times in range(len(settings.decay_at) + 1)],
        )
    rising = round(settings.warmup * steps)
    return WarmUp(rate, rising) if rising else rate
