"""Ranking by a linear model with crossed features."""

import keras
from keras import ops

from atrank_tf.layers.dense import flatten, linear
from atrank_tf.layers.heads.ranking_head import RankingHead, concat_inputs
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class WideHead(RankingHead):
    """Scores by a linear model on user vector, candidate and context, and on their products with the candidate.

    Rough sketch:
        logit = w [u; context; v] + [u; context] W v + b

    The products are what crossed ids are in the paper: something of the user's or the request's together with something
    of the candidate's.

    Call arguments:
        user_vector: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.

    Returns:
        Logits, float [B, N].

    Reference:
        Wide & deep learning (Cheng et al., arXiv 1606.07792), section 3.1: the wide component.
    """

    def build_head(self, hidden_dim: int, context_dim: int) -> None:
        request_dim = hidden_dim + context_dim
        shape = (request_dim + hidden_dim, 1)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.cross = self.add_weight(name="cross", shape=(request_dim, hidden_dim), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")

    def call(self, user_vector: Tensor, candidates: Tensor, context: Tensor | None = None) -> Tensor:
        request, candidate = concat_inputs(user_vector, context), flatten(candidates)
        kernel, size = ops.convert_to_tensor(self.kernel), request.shape[-1]
        logits = linear(request, kernel[:size])[..., 0] + linear(candidate, kernel[size:])[..., 0]
        logits = logits + ops.sum(linear(request, self.cross) * candidate, axis=-1) + self.bias
        return ops.reshape(logits, ops.shape(user_vector)[:2])
