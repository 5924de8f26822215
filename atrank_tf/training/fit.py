"""Records and an experiment -> a trained model in its folder."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from atrank_tf.data import Part, RawValues, Records, TrainingBatches, evaluation_batches, positive_counts
from atrank_tf.models import MODELS, Ranker
from atrank_tf.schema import Candidates, suggestion
from atrank_tf.training.callbacks import Backup, BestCheckpoint
from atrank_tf.training.experiment import LOSSES, Experiment, Training, experiment_from_dict, experiment_to_dict
from atrank_tf.training.follow_chief import FollowChief
from atrank_tf.training.global_metrics import GlobalMetrics
from atrank_tf.training.request_auc import request_auc_by_task
from atrank_tf.training.settle_tables import SettleTables
from atrank_tf.training.sparse_adam import SparseAdam
from atrank_tf.training.workers import ALONE, Workers

MODEL_FILE = "model.keras"
"""The model that a training keeps, in a model folder."""
TRAINING_FILE = "training.json"
"""What was trained, on what, and how it went, in a model folder."""
VALUES_FILE = "values.npz"
"""The raw ids and feature values behind the model's rows, in a model folder."""


def train(
    records: Records,
    experiment: Experiment,
    model_dir: str,
    *,
    callbacks: Sequence[Any] = (),
    workers: Workers = ALONE,
) -> bool:
    """Trains a model, going on where an interrupted training of the same experiment stopped.

    The folder then holds `model.keras` (of the best validation AUC; under `include_validation`, of the last epoch),
    `values.npz` (raw ids, for the export), `training.json` (experiment, records, history, best epoch) and
    `tensorboard/`.

    Args:
        records: a records folder.
        experiment: what is trained.
        model_dir: the model folder.
        callbacks: more Keras callbacks, of the chief alone.
        workers: who train together, each calling this function. Sizes of batches are shared out among them. Only the
            chief reads and writes the folder.

    Returns:
        Whether anything was trained; False if the folder already holds this experiment, trained on these records.

    Raises:
        ValueError: the folder holds another experiment, or one trained on other records; or there are not as many files
            of records as workers.
    """
    records = records.select(experiment.model.groups)
    share = records.of_worker(workers.index, workers.number)
    identity = {"experiment": experiment_to_dict(experiment), "records": records.manifest["fingerprint"]}
    backup_file = f"{model_dir}/backup.npz"
    if workers.chief_says(lambda: _is_current(model_dir, identity)):
        if workers.is_chief and tf.io.gfile.exists(backup_file):  # Killed between the last two lines below.
            tf.io.gfile.remove(backup_file)
        return False
    settings = experiment.training
    keras.utils.set_random_seed(settings.seed)
    model = MODELS[experiment.name](records.schema, experiment.model, records.catalogs, name=experiment.name)
    for task in model.tasks:
        if settings.start_at_popularity and records.schema.tasks[task].candidates is Candidates.SAMPLED:
            (counts,) = workers.sum([tf.constant(positive_counts(share, task, _part(experiment)))])
            model.start_at_popularity(task, counts.numpy())
    checkpoint = BestCheckpoint(f"{model_dir}/{MODEL_FILE}", model.tasks, settings.patience)
    backup = Backup(backup_file, checkpoint)
    batches = _batches(share, experiment, model, workers)
    compile_model(model, settings, steps=settings.epochs * batches.steps, workers=workers)
    done = workers.chief_says(lambda: backup.restore(model))
    if workers.is_chief:
        tf.io.gfile.makedirs(model_dir)
        RawValues.of(records).save(f"{model_dir}/{VALUES_FILE}")
        _write_json(f"{model_dir}/{TRAINING_FILE}", {**identity, "finished": False})  # Now the folder is taken.
    tensorboard = keras.callbacks.TensorBoard(f"{model_dir}/tensorboard")
    writing = [checkpoint, backup, tensorboard, *callbacks] if workers.is_chief else []
    impatient = settings.patience and done - 1 - checkpoint.best_epoch >= settings.patience
    if not done or not workers.chief_says(lambda: bool(done >= settings.epochs or impatient)):
        model.fit(
            (_batches(share, experiment, model, workers, first_epoch=done) if done else batches).dataset,
            steps_per_epoch=batches.steps,
            shuffle=False,
            validation_data=None if settings.include_validation else _validation(share, experiment, model, workers),
            epochs=settings.epochs,
            initial_epoch=done,
            callbacks=[SettleTables(), GlobalMetrics(workers), *writing, FollowChief(workers)],
            verbose=(1 if sys.stdout.isatty() else 2) if workers.is_chief else 0,
        )
    if workers.is_chief:
        _write_json(f"{model_dir}/{TRAINING_FILE}", {**identity, "finished": True, **checkpoint.state()})
        tf.io.gfile.remove(backup.path)
    return True


def compile_model(model: Ranker, settings: Training, steps: int, workers: Workers = ALONE) -> None:
    """Compiles a model for `fit`: `SparseAdam` and loss as the experiment says, AUC for each task.

    `fit` then needs the callback `SettleTables`.

    Args:
        model: the model.
        settings: the experiment's [training].
        steps: steps of the whole training, of which `decay_at` names shares.
        workers: who share each batch.

    Raises:
        ValueError: a weight is of a task that the model has not.
    """
    for task in settings.task_weights:
        if task not in model.tasks:
            raise ValueError(f"Unknown task {task!r} in [training.task_weights]. {suggestion(task, model.tasks)}")
    rate: Any = settings.learning_rate
    if settings.decay_at:
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            [int(share * steps) for share in settings.decay_at],
            [settings.learning_rate * settings.decay**times for times in range(len(settings.decay_at) + 1)],
        )
    optimizer = SparseAdam(
        rate, moments="dense", l2=settings.l2, global_clipnorm=settings.clip_norm or None, workers=workers
    )
    optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if v.path.startswith("item_bias_")])
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss={task: LOSSES[settings.loss](workers=workers) for task in model.tasks},
        loss_weights={task: settings.task_weights.get(task, 1.0) for task in model.tasks},
        weighted_metrics=request_auc_by_task(model.tasks),
    )


def load_model(model_dir: str) -> Ranker:
    """Loads the best model of a model folder.

    Raises:
        FileNotFoundError: the folder holds no model.
    """
    path = f"{model_dir}/{MODEL_FILE}"
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(f"Expected a trained model at {path}. Found none: run `python -m atrank_tf.train`.")
    model: Ranker = keras.saving.load_model(path)
    return model


def load_trained_experiment(model_dir: str) -> Experiment:
    """Returns the experiment that a model folder holds.

    Raises:
        FileNotFoundError: the folder holds no training.
    """
    path = f"{model_dir}/{TRAINING_FILE}"
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(f"Expected a training at {path}. Found none: run `python -m atrank_tf.train`.")
    with tf.io.gfile.GFile(path) as file:
        return experiment_from_dict(json.load(file)["experiment"])


def _batches(
    share: Records, experiment: Experiment, model: Ranker, workers: Workers, *, first_epoch: int = 0
) -> TrainingBatches:
    sizes = {name: -(-getattr(experiment.batching, name) // workers.number) for name in ("batch_size", "batch_tokens")}
    return model.training_batches(
        share,
        tasks=model.tasks,
        settings=replace(experiment.batching, **sizes),
        seed=experiment.training.seed,
        first_epoch=first_epoch,
        part=_part(experiment),
        agree=lambda counts: agreed_steps(counts, workers),
    )


def agreed_steps(counts: Sequence[int], workers: Workers) -> list[int]:
    """Returns how many batches of each task all workers take in an epoch: as many as the one with the most.

    Raises:
        ValueError: a worker has none of a task that others have.
    """
    said = workers.all_say(counts)
    if said.any() and not said.all():
        raise ValueError(
            "Expected training targets of every task in the files of every worker. Received: batches of each task, "
            f"worker by worker: {said.tolist()}. Take fewer workers."
        )
    steps = [int(most) for most in said.max(axis=0)]
    twice = 1 - said.sum() / max(workers.number * sum(steps), 1)
    if twice > 0.05 and workers.is_chief:
        logging.warning("%.0f%% of an epoch's batches are seen twice: some workers have more files.", 100 * twice)
    return steps


def _validation(share: Records, experiment: Experiment, model: Ranker, workers: Workers) -> Any:
    """The batches of validation that this worker takes; None if no worker has any."""
    batches = evaluation_batches(share, Part.VALIDATION, tasks=model.tasks, settings=experiment.batching)
    count = int(batches.cardinality())
    if not workers.all_say([count]).any():
        return None
    if count:
        return batches
    # A batch without rows: Keras takes no dataset without batches.
    return tf.data.Dataset.from_tensors(
        tf.nest.map_structure(
            lambda spec: tf.zeros([0, *(size or 1 for size in spec.shape[1:])], spec.dtype), batches.element_spec
        )
    )


def _part(experiment: Experiment) -> Part:
    return Part.TRAINING_AND_VALIDATION if experiment.training.include_validation else Part.TRAINING


def _is_current(model_dir: str, identity: dict[str, Any]) -> bool:
    """Whether the folder holds this training, finished; another training is refused."""
    path = f"{model_dir}/{TRAINING_FILE}"
    if not tf.io.gfile.exists(path):
        return False
    with tf.io.gfile.GFile(path) as file:
        found = json.load(file)
    for key, what in (("experiment", "another experiment"), ("records", "the same experiment on other records")):
        if found[key] != json.loads(json.dumps(identity[key])):
            raise ValueError(f"{model_dir} holds {what}. Name another --model_dir, or remove it.")
    return bool(found["finished"])


def _write_json(path: str, value: dict[str, Any]) -> None:
    with tf.io.gfile.GFile(f"{path}.partial", "w") as file:
        json.dump(value, file, indent=1)
    tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)
