"""Which batches each worker takes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf
from absl import logging

from atrank_tf.data import Part, Records, TrainingBatches, evaluation_batches
from atrank_tf.models import Ranker
from atrank_tf.training.experiment import Experiment
from atrank_tf.training.workers import Workers


def training_part(experiment: Experiment) -> Part:
    """Returns which targets are trained on."""
    return Part.TRAINING_AND_VALIDATION if experiment.training.include_validation else Part.TRAINING


def training_share(
    share: Records, experiment: Experiment, model: Ranker, workers: Workers, *, first_epoch: int = 0
) -> TrainingBatches:
    """Returns the batches of this worker: their sizes are its part of the experiment's, their number is that of all.

    Args:
        share: the records, `of_worker`.
        experiment: what is trained.
        model: the model.
        workers: all of them.
        first_epoch: number of the first epoch.
    """
    sizes = {name: -(-getattr(experiment.batching, name) // workers.number) for name in ("batch_size", "batch_tokens")}
    return model.training_batches(
        share,
        settings=replace(experiment.batching, **sizes),
        seed=experiment.training.seed,
        first_epoch=first_epoch,
        part=training_part(experiment),
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


def validation_share(share: Records, experiment: Experiment, model: Ranker, workers: Workers) -> Any:
    """Returns the batches of validation that this worker takes; None if no worker has any."""
    batches = evaluation_batches(share, Part.VALIDATION, tasks=model.tasks, settings=experiment.batching)
    return one_at_least(batches) if workers.all_say([int(batches.cardinality())]).any() else None


def one_at_least(batches: Any) -> Any:
    """Returns a dataset; if it has no batch, one without rows, since Keras takes no dataset without batches."""
    if int(batches.cardinality()):
        return batches

    def empty(rows: Any) -> Any:
        """No rows; of the sizes that differ among batches only those of other batches are known when it is traced."""

        def of_spec(spec: Any) -> Any:
            sizes = [rows if size is None else size for size in spec.shape[1:]]
            return tf.ensure_shape(tf.zeros(tf.stack([rows - 1, *sizes]), spec.dtype), [None, *spec.shape[1:]])

        return tf.nest.map_structure(of_spec, batches.element_spec)

    return tf.data.Dataset.from_tensors(1).map(empty)
