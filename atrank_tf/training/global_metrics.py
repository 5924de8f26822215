"""Metrics of what all workers have seen."""

from typing import Any

import keras

from atrank_tf.training.workers import Workers


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
