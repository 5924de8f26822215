"""The training loss: each candidate by itself."""

from typing import Any

import keras
from keras import ops

from atrank_tf.training.workers import ALONE, Workers


@keras.saving.register_keras_serializable(package="atrank_tf")
class PointwiseCrossentropy(keras.losses.Loss):
    """Sigmoid cross-entropy of each candidate, averaged by weight over all candidates of a batch.

    A batch without candidates (N = 0, a batch of another task) has loss 0.

    Args:
        workers: who share each batch.

    Call arguments:
        y_true: labels in 0..1, float [B, N].
        y_pred: logits, float [B, N].
        sample_weight: float [B, N], 0 on padding; None for all ones.

    Returns:
        The mean loss, float32 scalar.

    Reference:
        ATRank (arXiv 1711.06632): point-wise sigmoid cross-entropy.
    """

    def __init__(self, name: str = "pointwise_crossentropy", *, workers: Workers = ALONE, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.workers = workers

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        losses = self.call(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32"))
        weights = ops.ones_like(losses) if sample_weight is None else ops.cast(sample_weight, "float32")
        total = ops.sum(weights)
        return self.workers.weigh(ops.sum(losses * weights) / ops.where(total > 0, total, 1.0), total)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        # -z log p - (1 - z) log(1 - p), which overflows nowhere. relu(x) - x z + softplus(-|x|) is the same number, but
        # its gradient is wrong at exactly 0, and 0 is what an empty history gives.
        return y_true * ops.softplus(-y_pred) + (1.0 - y_true) * ops.softplus(y_pred)
