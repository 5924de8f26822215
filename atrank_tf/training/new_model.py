"""The model of an experiment before its first step: its weights, optimizer, losses and metrics."""

import os
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.data import Part, Records
from atrank_tf.experiment import Experiment, Training, check_task_weights
from atrank_tf.losses import ListwiseCrossentropy, PairwiseCrossentropy, PointwiseCrossentropy
from atrank_tf.metrics import RequestAUC, request_auc_by_task
from atrank_tf.models import MODELS, Ranker
from atrank_tf.optimizers import SparseAdam, SparseMuon, WarmUp
from atrank_tf.training.workers import ALONE, Workers

LOSS_CLASSES = {
    "pointwise": PointwiseCrossentropy,
    "pairwise": PairwiseCrossentropy,
    "listwise": ListwiseCrossentropy,
}
"""Losses by the name that an experiment file gives: `[training] loss`."""
OPTIMIZER_CLASSES: dict[str, type[SparseAdam]] = {"adam": SparseAdam, "muon": SparseMuon}
"""Optimizers by the name that an experiment file gives: `[training] optimizer`."""


def new_model(records: Records, share: Records, experiment: Experiment, workers: Workers) -> Ranker:
    """Returns the experiment's model with fresh weights, which knows how often each object was chosen.

    Args:
        records: all records, of the groups that the experiment reads.
        share: this worker's files of them.
        experiment: what is trained.
        workers: who train together, each calling this function: their counts are added up.

    Raises:
        ValueError: the loss compares candidates, and no request of a task has two.
    """
    settings = experiment.training
    model = MODELS[experiment.name](
        records.schema, catalogs=records.catalogs, name=experiment.name, **vars(experiment.model)
    )
    for task in model.tasks:
        if settings.loss != "pointwise":
            _check_lists(records, task, settings.loss)
    model.load_counts(share, trained_part(settings), workers.total)
    return model


def trained_part(settings: Training) -> Part:
    """Returns which targets are trained on."""
    return Part.TRAINING_AND_VALIDATION if settings.include_validation else Part.TRAINING


def compile_model(model: Ranker, settings: Training, steps: int, workers: Workers = ALONE) -> dict[str, RequestAUC]:
    """Compiles a model for `fit`: optimizer and losses as an experiment says, AUC of each task.

    Args:
        model: the model.
        settings: the experiment's [training].
        steps: steps of the whole training, of which `warmup` and `decay_at` name shares.
        workers: who share each batch.

    Returns:
        task -> its AUC, in training or, after a validation, of that.

    Raises:
        ValueError: a weight is of a task that the model has not.
    """
    check_task_weights(settings, model.tasks)
    optimizer = OPTIMIZER_CLASSES[settings.optimizer](
        _learning_rate(settings, steps),
        moments="dense",
        l2=settings.l2,
        weight_decay=settings.weight_decay or None,
        weight_decay_of="matrices",
        global_clipnorm=settings.clip_norm or None,
        reduce_gradients=workers.mean_gradients if workers.number > 1 else None,
    )
    model.slices = settings.slices
    aucs = request_auc_by_task(model.tasks)
    model.compile(
        optimizer=optimizer,
        loss={
            task: LOSS_CLASSES[settings.loss](scale=workers.scale if workers.number > 1 else None)
            for task in model.tasks
        },
        loss_weights={task: settings.task_weights.get(task, 1.0) for task in model.tasks},
        weighted_metrics=aucs,
    )
    return {task: auc for task, (auc,) in aucs.items()}


def divide_threads(slices: int) -> None:
    """Divides the CPU cores among the slices of a batch.

    With one slice TensorFlow's own division stays, where every operation has the threads of all cores. But on one or
    two cores each operation has one: two small ones side by side take less time than one after the other, divided.

    Args:
        slices: as in `Training`.

    Raises:
        RuntimeError: TensorFlow has set up its devices already.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if slices > 1 or cores <= 2:
        tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // max(slices, 2)))
        tf.config.threading.set_inter_op_parallelism_threads(cores)


def _check_lists(records: Records, task: str, loss: str) -> None:
    shown = records.manifest["requests"].get(task)
    if shown and shown["candidates"] == shown["requests"]:
        raise ValueError(
            f'Expected requests with several candidates in impressions/{task} for loss = "{loss}" in [training], '
            f"which compares the candidates of a request. Found {shown['requests']:,} requests, each with one: "
            'use "pointwise", or give rows that were shown together the same request_id.'
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
