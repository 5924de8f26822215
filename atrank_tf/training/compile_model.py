"""Training settings -> the optimizer, the losses and the metrics of a model."""

from typing import Any

import keras

from atrank_tf.models import Ranker
from atrank_tf.optimizers import SparseAdam, WarmUp
from atrank_tf.schema import suggestion
from atrank_tf.training.experiment import LOSSES, Training
from atrank_tf.training.workers import ALONE, Workers


def compile_model(model: Ranker, settings: Training, steps: int, workers: Workers = ALONE) -> None:
    """Compiles a model for `fit`: `SparseAdam` and loss as the experiment says, AUC for each task.

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
        reduce_gradients=workers.mean_gradients if workers.number > 1 else None,
    )
    model.slices = settings.slices
    model.compile(
        optimizer=optimizer,
        loss={task: LOSSES[settings.loss](scale=workers.scale if workers.number > 1 else None) for task in model.tasks},
        loss_weights={task: settings.task_weights.get(task, 1.0) for task in model.tasks},
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
