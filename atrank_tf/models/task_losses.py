"""What `fit` and `evaluate` report as the loss of each task."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.types import Tensor


class TaskLosses:
    """Mean loss of each task, in which a batch weighs as many requests of the task as it has.

    Keras' own means count batches: one that holds another task, or no request at all, as much as any. It makes them in
    the first step, and of several outputs only. Each of these takes the place of Keras' mean of its name, and takes the
    loss of a batch from that.

    Args:
        tasks: names of the outputs.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self._means = {f"{task}_loss": (task, keras.metrics.Mean(name=f"{task}_loss")) for task in tasks}

    def in_place_of(self, metrics: Sequence[Any]) -> list[Any]:
        """Returns Keras' metrics, but these means in place of those of the same names."""
        return [self._means[metric.name][1] if metric.name in self._means else metric for metric in metrics]

    def reset(self, metrics: Sequence[Any]) -> None:
        """Has Keras' means forget what came before the next batch."""
        for metric in metrics:
            if metric.name in self._means:
                metric.reset_state()

    def add(self, metrics: Sequence[Any], y_pred: Mapping[str, Tensor], sample_weight: Any) -> None:
        """Adds the batch that Keras' means have seen: float [..., N] logits of N candidates, and their weights."""
        for metric in metrics:
            if metric.name in self._means:
                task, mean = self._means[metric.name]
                real = ops.ones_like(y_pred[task]) if sample_weight is None else sample_weight[task]
                mean.update_state(metric.result(), ops.count_nonzero(ops.any(ops.not_equal(real, 0), axis=-1)))
