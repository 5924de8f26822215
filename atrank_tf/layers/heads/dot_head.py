"""Ranking by the dot product of user vector and candidate."""

import keras
from keras import ops

from atrank_tf.layers.heads.ranking_head import RankingHead
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class DotHead(RankingHead):
    """Scores by the scaled dot product of user vector and candidate, without weights.

    Rough sketch:
        logit = <u, v> / sqrt(D)

    An empty history, whose user vector is 0, scores exactly 0.

    Call arguments:
        user_vector: float [B, N, D].
        candidates: float [B, N, D].
        context, counts: not looked at.

    Returns:
        Logits, float [B, N].

    Reference:
        The authors' code of ATRank, without the scale.
    """

    def call(
        self, user_vector: Tensor, candidates: Tensor, context: Tensor | None = None, counts: Tensor | None = None
    ) -> Tensor:
        return ops.sum(user_vector * candidates, axis=-1) / (candidates.shape[-1] ** 0.5)
