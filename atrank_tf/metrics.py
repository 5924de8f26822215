"""Metrics to watch while training; `atrank_tf.evaluation` has those to report."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

SUBSAMPLES = 32
"""Number of subsamples that requests are dealt out to in turn; how they differ says how precise the mean is."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class RequestAUC(keras.metrics.Metric):
    """Share of a request's (positive, negative) pairs in which the positive scores higher, averaged over requests.

    Exact, ties count one half; requests without a positive or without a negative are left out, and without any other it
    is NaN. Where each user has one request, it is the average user AUC of the literature; `atrank_tf.evaluation` has
    that metric for the general case.

    It also keeps the sum of each of `SUBSAMPLES` subsamples, to which requests are dealt out in the order in which they
    come. They give a standard error in constant memory: that of the mean, and, where two models see the same requests
    in the same order, that of the difference of their means, which is much smaller (`atrank_tf.training.EpochChoice`).

    `update_state` arguments:
        y_true: labels in {0, 1}, float [..., N], N candidates of one request.
        y_pred: scores, float [..., N].
        sample_weight: float [..., N], 0 on padding; other weights count as 1.

    Attributes:
        totals: sum of the AUCs of each subsample, float32 [SUBSAMPLES].
        requests: number of requests of each subsample, float32 [SUBSAMPLES].
    """

    def __init__(self, name: str = "auc", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.totals = self.add_weight(name="totals", shape=(SUBSAMPLES,), initializer="zeros")
        self.requests = self.add_weight(name="requests", shape=(SUBSAMPLES,), initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        real = ops.ones_like(y_true) if sample_weight is None else ops.cast(ops.not_equal(sample_weight, 0), "float32")
        positive, negative = y_true * real, (1.0 - y_true) * real
        gap = y_pred[..., :, None] - y_pred[..., None, :]
        won = 0.5 * (ops.sign(gap) + 1.0)  # [..., N, N]: 1, one half or 0
        won = ops.einsum("...n,...nm,...m->...", positive, won, negative)
        pairs = ops.sum(positive, axis=-1) * ops.sum(negative, axis=-1)
        counted = ops.reshape(pairs > 0, (-1,))
        aucs = ops.reshape(won / ops.maximum(pairs, 1.0), (-1,))
        number = ops.cast(ops.sum(self.requests), "int32") + ops.cumsum(ops.cast(counted, "int32"))
        dealt = ops.one_hot((number - 1) % SUBSAMPLES, SUBSAMPLES) * ops.cast(counted, "float32")[:, None]
        self.totals.assign_add(ops.einsum("r,rs->s", aucs, dealt))
        self.requests.assign_add(ops.sum(dealt, axis=0))

    def result(self) -> Any:
        return ops.sum(self.totals) / ops.sum(self.requests)  # 0 / 0 is NaN


def request_auc_by_task(tasks: Sequence[str]) -> dict[str, list[RequestAUC]]:
    """Returns `weighted_metrics` for `compile`: one `RequestAUC` for each task, logged as `<task>_auc`."""
    return {task: [RequestAUC(name="auc")] for task in tasks}
