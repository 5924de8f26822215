"""Ranking by a factorization machine."""

import keras
from keras import ops

from atrank_tf.layers.dense import linear, linear_concat
from atrank_tf.layers.heads.ranking_head import RankingHead
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class FMHead(RankingHead):
    """Scores by a factorization machine whose fields are user vector, candidate and context.

    Rough sketch:
        fields = u, v, V context
        logit = w [u; v; context] + sum over pairs <field_i, field_j> / sqrt(D) + b

    V projects the context to D; the scale is that of `DotHead`. Together with `DNNHead` it is DeepFM: both read the
    same embeddings.

    Call arguments:
        user_vector: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.

    Returns:
        Logits, float [B, N].

    Reference:
        Factorization machines (Rendle, ICDM 2010); DeepFM (Guo et al., arXiv 1703.04247), equation 2.
    """

    def build_head(self, hidden_dim: int, context_dim: int) -> None:
        if context_dim:
            self.context_kernel = self.add_weight(
                name="context_kernel", shape=(context_dim, hidden_dim), initializer="glorot_uniform"
            )
        shape = (2 * hidden_dim + context_dim, 1)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")

    def call(self, user_vector: Tensor, candidates: Tensor, context: Tensor | None = None) -> Tensor:
        inputs, pairs = [user_vector, candidates], user_vector * candidates
        if context is not None:
            inputs.append(context)
            pairs = pairs + linear(context, self.context_kernel) * (user_vector + candidates)
        logits = linear_concat(inputs, self.kernel)[..., 0]
        return logits + ops.sum(pairs, axis=-1) / (candidates.shape[-1] ** 0.5) + self.bias
