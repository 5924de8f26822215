"""The training loss: each positive beside each negative of its request."""

from typing import Any

import keras
from keras import ops

from atrank_tf.training.workers import ALONE, Workers


@keras.saving.register_keras_serializable(package="atrank_tf")
class PairwiseCrossentropy(keras.losses.Loss):
    """Sigmoid cross-entropy of "the positive scores higher than the negative", averaged by weight over all pairs of a
    positive and a negative of one request.

    Rough sketch:
        loss = sum over pairs w_i w_j y_i (1 - y_j) (-log sigmoid(s_i - s_j)) / sum over pairs w_i w_j y_i (1 - y_j)

    A batch without pairs has loss 0. What is the same for all candidates of a request cancels out.

    Args:
        workers: who share each batch.

    Call arguments:
        y_true: labels in 0..1, float [..., N], N candidates of one request.
        y_pred: logits, float [..., N].
        sample_weight: float [..., N], 0 on padding; None for all ones.

    Returns:
        The mean loss, float32 scalar.

    Reference:
        BPR (Rendle et al., UAI 2009, arXiv 1205.2618), BPR-OPT.
    """

    def __init__(self, name: str = "pairwise_crossentropy", *, workers: Workers = ALONE, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.workers = workers

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        weights = ops.ones_like(y_true) if sample_weight is None else ops.cast(sample_weight, "float32")
        losses = ops.softplus(y_pred[..., None, :] - y_pred[..., :, None])  # [..., N, N]: the second above the first
        pairs = (weights * y_true)[..., :, None] * (weights * (1.0 - y_true))[..., None, :]
        total = ops.sum(pairs)
        return self.workers.weigh(ops.sum(losses * pairs) / ops.where(total > 0, total, 1.0), total)
