"""Keras model with an output for each task, and defaults for `compile` and `fit`."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.data import TrainingBatches
from atrank_tf.losses import PointwiseCrossentropy
from atrank_tf.metrics import request_auc_by_task
from atrank_tf.models.task_losses import TaskLosses
from atrank_tf.optimizers import ApplyPendingDecay, SparseAdam, apply_pending
from atrank_tf.schema.inputs import log_rate_name
from atrank_tf.types import Tensor


class TaskModel(keras.Model):
    """Keras model that returns task -> logits, and whose `compile` and `fit` have defaults for ranking.

    Pending decay of `SparseAdam` and `SparseAdagrad` is applied before tables are read as a whole: in `evaluate`,
    `predict`, `save` and `export`, and for callbacks at the end of an epoch.

    Attributes:
        tasks: names of the outputs; a subclass sets them.
    """

    tasks: tuple[str, ...]

    _task_losses = TaskLosses(())
    slices: int = 1
    """Number of slices of users into which a training batch is cut, computed side by side; `compile_model` sets it."""

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """`keras.Model.compile`, with a default for every argument.

        Args:
            optimizer: as in Keras; `SparseAdam()` if not given.
            loss: as in Keras; `PointwiseCrossentropy()` for each task if not given. Weights are of candidates, so a
                loss function must return a number for each candidate, float [..., N].
            loss_weights, metrics: as in Keras.
            weighted_metrics: as in Keras; `RequestAUC()` for each task if not given, [] for none.
            **kwargs: as in Keras.
        """
        super().compile(
            optimizer=SparseAdam() if optimizer is None else optimizer,
            loss={task: PointwiseCrossentropy() for task in self.tasks} if loss is None else loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=request_auc_by_task(self.tasks) if weighted_metrics is None else weighted_metrics,
            **kwargs,
        )
        self._task_losses = TaskLosses(self.tasks)
        if not self.optimizer.built:  # Deferred decay needs it before the first step is traced.
            self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles a loaded model as the saved one was; Keras calls it."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(self, x: Any = None, y: Any = None, *, callbacks: Any = None, **kwargs: Any) -> Any:
        """`keras.Model.fit`, which also takes `TrainingBatches`: their steps, and their draws from `initial_epoch` on.

        Args:
            x: what Keras takes, or `training_batches`.
            y: as in Keras.
            callbacks: as in Keras.
            **kwargs: as in Keras.
        """
        if isinstance(x, TrainingBatches):
            kwargs = {"steps_per_epoch": x.steps, "shuffle": False} | kwargs
            x = x.from_epoch(kwargs.get("initial_epoch", 0))
        return super().fit(x, y, callbacks=[ApplyPendingDecay(), *keras.tree.flatten(callbacks or [])], **kwargs)

    @property
    def metrics(self) -> list[Any]:
        """As in Keras; but the mean loss of a task is that of its requests, as `TaskLosses` says."""
        return self._task_losses.in_place_of(super().metrics)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the sum of the tasks' losses; Keras calls it."""
        self._task_losses.reset(super().metrics)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        self._task_losses.add(super().metrics, y_pred, sample_weight)
        return loss

    def call(
        self, inputs: Mapping[str, Tensor], training: bool | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Forward pass; of training batches with log rates (`has_log_rates`) it returns logits less these.

        Reference:
            Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations" (RecSys 2019).
        """
        if training and self.slices > 1:
            logits = _in_slices(lambda part: self.forward(part, training), inputs, self.slices)
        else:
            logits = self.forward(inputs, training)
        if not training:
            return logits
        rates = {task: inputs.get(log_rate_name(task)) for task in logits}
        return {task: each if rates[task] is None else each - rates[task] for task, each in logits.items()}

    def forward(self, inputs: Mapping[str, Tensor], training: bool | None) -> dict[str, Tensor]:
        """Forward pass of a batch, or of a slice of one; inputs that this model does not read are left out."""
        read = {tensor.name for tensor in self.inputs}
        return super().call({name: value for name, value in inputs.items() if name in read}, training=training)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """`keras.Model.export`."""
        apply_pending(self.trainable_variables)
        super().export(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> Any:
        """Makes the function of a training step; Keras calls it."""
        if self.train_function is None and self.loss is not None:
            # Keras would make the means of the tasks' losses within the first step, and so trace that step twice.
            nothing = {task: ops.zeros((1, 1)) for task in self.tasks}
            self.compute_loss(y=nothing, y_pred=nothing, sample_weight=nothing)
            self.reset_metrics()
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        """Makes the function of a step of evaluation; Keras calls it at the start of `evaluate`."""
        apply_pending(self.trainable_variables)
        return super().make_test_function(force)

    def make_predict_function(self, force: bool = False) -> Any:
        """Makes the function of a step of prediction; Keras calls it at the start of `predict`."""
        apply_pending(self.trainable_variables)
        return super().make_predict_function(force)


def _in_slices(
    call: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]], inputs: Mapping[str, Tensor], slices: int
) -> dict[str, Tensor]:
    """Returns what `call` returns of the whole batch, computed slice by slice.

    The slices do not wait for each other, so that each may have a core of its own: the operations of a step are many
    and small, and two cores that share each of them are not twice as fast as one.

    Args:
        call: dict of tensors -> dict of tensors; all have the users of the batch, B, as their first dimension.
        inputs: the batch.
        slices: how many.
    """
    users = tf.shape(next(iter(inputs.values())))[0]
    found: dict[str, list[Tensor]] = {}
    for number in range(slices):
        start, end = users * number // slices, users * (number + 1) // slices
        # Not every operation takes a slice of no users, of which there are some where B is less than `slices`.
        taken = ops.maximum(end, start + 1)
        for name, values in call({name: values[start:taken] for name, values in inputs.items()}).items():
            found.setdefault(name, []).append(values[: end - start])
    return {name: ops.concatenate(values) for name, values in found.items()}
