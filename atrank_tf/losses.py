"""Ranking losses: pointwise, pairwise and listwise."""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from atrank_tf.types import Tensor

Scale = Callable[[Tensor, Tensor], Tensor]
"""A function (mean loss of a batch, sum of its weights) -> the mean loss. Its gradient may be another: that of the mean
over the batches of several processes. It is no part of a config."""
_NEVER = -1e30
"""Logit of what is no candidate."""


class _WeightedLoss(keras.losses.Loss):
    """Mean by weight of what a batch holds; its gradient may be that over several processes."""

    default_name: ClassVar[str]

    def __init__(self, name: str | None = None, *, scale: Scale | None = None, **kwargs: Any) -> None:
        super().__init__(name=name or self.default_name, **kwargs)
        self.scale = scale

    def mean(self, losses: Tensor, weights: Tensor) -> Tensor:
        """Returns the mean of losses by their weights, float32 scalar; 0 without any."""
        total = ops.sum(weights)
        mean = ops.sum(losses * weights) / ops.where(total > 0, total, 1.0)
        return mean if self.scale is None else self.scale(mean, total)


@keras.saving.register_keras_serializable(package="atrank_tf")
class PointwiseCrossentropy(_WeightedLoss):
    """Sigmoid cross-entropy of each candidate, averaged by weight over all candidates of a batch.

    A batch without candidates (N = 0, a batch of another task) has loss 0.

    Args:
        scale: for several processes that share each batch; None for one.

    Call arguments:
        y_true: labels in 0..1, float [B, N].
        y_pred: logits, float [B, N].
        sample_weight: float [B, N], 0 on padding; None for all ones.

    Returns:
        The mean loss, float32 scalar.

    Reference:
        ATRank (arXiv 1711.06632): point-wise sigmoid cross-entropy.
    """

    default_name = "pointwise_crossentropy"

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        losses = self.call(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32"))
        weights = ops.ones_like(losses) if sample_weight is None else ops.cast(sample_weight, "float32")
        return self.mean(losses, weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        # -z log p - (1 - z) log(1 - p), which overflows nowhere. relu(x) - x z + softplus(-|x|) is the same number, but
        # its gradient is wrong at exactly 0, and 0 is what an empty history gives.
        return y_true * ops.softplus(-y_pred) + (1.0 - y_true) * ops.softplus(y_pred)


@keras.saving.register_keras_serializable(package="atrank_tf")
class PairwiseCrossentropy(_WeightedLoss):
    """Sigmoid cross-entropy of "the positive scores higher than the negative", averaged by weight over all pairs of a
    positive and a negative of one request.

    Rough sketch:
        loss = sum over pairs w_i w_j y_i (1 - y_j) (-log sigmoid(s_i - s_j)) / sum over pairs w_i w_j y_i (1 - y_j)

    A batch without pairs has loss 0. What is the same for all candidates of a request cancels out.

    Args:
        scale: for several processes that share each batch; None for one.

    Call arguments:
        y_true: labels in 0..1, float [..., N], N candidates of one request.
        y_pred: logits, float [..., N].
        sample_weight: float [..., N], 0 on padding; None for all ones.

    Returns:
        The mean loss, float32 scalar.

    Reference:
        BPR (Rendle et al., UAI 2009, arXiv 1205.2618), BPR-OPT.
    """

    default_name = "pairwise_crossentropy"

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        weights = ops.ones_like(y_true) if sample_weight is None else ops.cast(sample_weight, "float32")
        losses = ops.softplus(y_pred[..., None, :] - y_pred[..., :, None])  # [..., N, N]: the second above the first
        pairs = (weights * y_true)[..., :, None] * (weights * (1.0 - y_true))[..., None, :]
        return self.mean(losses, pairs)


@keras.saving.register_keras_serializable(package="atrank_tf")
class ListwiseCrossentropy(_WeightedLoss):
    """Softmax cross-entropy of each positive among all candidates of its request, averaged by weight over positives.

    Rough sketch:
        loss = sum w_i y_i (log(sum_j w_j exp s_j) - s_i) / sum w_i y_i

    A batch without positives has loss 0. What is the same for all candidates of a request cancels out. With log rates
    subtracted (`Batching.correct_sampling`) it is a sampled softmax over all objects.

    Args:
        scale: for several processes that share each batch; None for one.

    Call arguments:
        y_true: labels in 0..1, float [..., N], N candidates of one request.
        y_pred: logits, float [..., N].
        sample_weight: float [..., N], 0 on padding; None for all ones.

    Returns:
        The mean loss, float32 scalar.

    Reference:
        ListNet (Cao et al., ICML 2007), top one probabilities; Bruch et al., "An Analysis of the Softmax Cross Entropy
        Loss for Learning-to-Rank with Binary Relevance" (ICTIR 2019).
    """

    default_name = "listwise_crossentropy"

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        weights = ops.ones_like(y_true) if sample_weight is None else ops.cast(sample_weight, "float32")
        real = weights > 0
        y_pred = ops.where(real, y_pred, 0.0)
        weighed = ops.where(real, y_pred + ops.log(ops.where(real, weights, 1.0)), _NEVER)
        # One that is none behind the others: there are requests without candidates.
        weighed = ops.pad(weighed, [(0, 0)] * (len(weighed.shape) - 1) + [(0, 1)], constant_values=_NEVER)
        losses = ops.logsumexp(weighed, axis=-1, keepdims=True) - y_pred  # Of each, as if it were a positive.
        return self.mean(losses, weights * y_true)
