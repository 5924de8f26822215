"""What several workers share of a training: batches, metrics and state."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from atrank_tf.data import Part, Records, TrainingBatches
from atrank_tf.experiment import Experiment
from atrank_tf.models import Ranker
from atrank_tf.training.average_weights import AverageWeights
from atrank_tf.training.new_model import trained_part
from atrank_tf.training.workers import Workers


def training_share(share: Records, experiment: Experiment, model: Ranker, workers: Workers) -> TrainingBatches:
    """Returns the batches of this worker: their sizes are its part of the experiment's, their number is that of all.

    Args:
        share: the records, `of_worker`.
        experiment: what is trained.
        model: the model.
        workers: all of them.
    """
    sizes = {name: -(-getattr(experiment.batching, name) // workers.number) for name in ("batch_size", "batch_tokens")}
    batches: TrainingBatches = model.make_batches(
        model.view(share),
        tasks=model.tasks,
        settings=replace(experiment.batching, **sizes),
        seed=experiment.training.seed,
        part=trained_part(experiment.training),
        agree=lambda counts: agreed_steps(counts, workers),
    )
    return batches


def agreed_steps(counts: Sequence[int], workers: Workers) -> list[int]:
    """Returns how many batches of each task all workers take in an epoch: as many as the one with the most.

    Raises:
        ValueError: a worker has none of a task that others have.
    """
    gathered = workers.all_gather(counts)
    if gathered.any() and not gathered.all():
        raise ValueError(
            "Expected training targets of every task in the files of every worker. Received: batches of each task, "
            f"worker by worker: {gathered.tolist()}. Take fewer workers."
        )
    steps = [int(most) for most in gathered.max(axis=0)]
    twice = 1 - gathered.sum() / max(workers.number * sum(steps), 1)
    if twice > 0.05 and workers.is_chief:
        logging.warning("%.0f%% of an epoch's batches are seen twice: some workers have more files.", 100 * twice)
    return steps


def validation_share(share: Records, experiment: Experiment, model: Ranker, workers: Workers) -> Any:
    """Returns the batches of validation that this worker takes; None if no worker has any."""
    batches = model.evaluation_batches(share, Part.VALIDATION, settings=experiment.batching)
    return one_at_least(batches) if workers.all_gather([int(batches.cardinality())]).any() else None


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


class GlobalMetrics(keras.callbacks.Callback):
    """Gives the callbacks after it, and the history, metrics over the batches of all workers.

    The variables of the model's metrics must be sums, as those of `keras.metrics.Mean` and `RequestAUC` are. What is
    printed in the course of an epoch is of this worker alone.

    Args:
        workers: all of them.
    """

    def __init__(self, workers: Workers) -> None:
        super().__init__()
        self.workers = workers
        self._validation: dict[str, float] = {}

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch + 1 == self.params["steps"]:
            self._sum()  # From which Keras takes the epoch's values.

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        self._sum()
        self._validation = {f"val_{name}": float(value) for name, value in self.model.get_metrics_result().items()}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            logs.update(self._validation)

    def _sum(self) -> None:
        variables: list[Any] = self.model.metrics_variables
        for variable, total in zip(variables, self.workers.sum([v.value for v in variables]), strict=True):
            variable.assign(total)


class BroadcastState(keras.callbacks.Callback):
    """Sets all that the training depends on to what it is on the chief, before the first epoch and after each one.

    So only the chief has to read a backup, and all go on from what the chief holds at the end of an epoch: within an
    epoch, pending decay is applied by one worker when it reads a row and by another at the end of the step, which may
    differ in the last bit. Each worker has its own numbers for dropout. Training ends when the chief's does.

    The last of the callbacks.

    Args:
        workers: all of them.
        average: whose means are the chief's, too.
    """

    def __init__(self, workers: Workers, average: AverageWeights) -> None:
        super().__init__()
        self.workers = workers
        self.average = average

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._broadcast()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._broadcast()
        self.model.stop_training = bool(self.workers.broadcast(lambda: self.model.stop_training))

    def _broadcast(self) -> None:
        variables = [*self.model.variables, *self.model.optimizer.variables, *self.average.means]
        self.workers.broadcast_variables(variables)
        other = tf.constant([2 * self.workers.rank, 0], tf.int64)  # `layers.Dropout` does not see a seed's last bit.
        for variable in self.model.variables:
            if variable.name == "seed_generator_state":
                variable.assign(variable.value + tf.cast(other, variable.dtype))
