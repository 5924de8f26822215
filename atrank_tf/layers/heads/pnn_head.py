"""Ranking by a product-based network."""

import keras
from keras import ops

from atrank_tf.layers.dense import flatten, linear
from atrank_tf.layers.heads.dnn_head import DNNHead
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class PNNHead(DNNHead):
    """Scores by a dense network on user vector, candidate and context, and on the inner product of each two of them.

    Rough sketch:
        fields = u, v, V context
        logit = DNN([fields; <field_i, field_j> / sqrt(D) for each pair])

    V projects the context to D; the scale is that of `DotHead`.

    Args:
        hidden_units: units of each hidden layer.
        dropout: share of each hidden layer that training drops. Defaults to 0.

    Call arguments:
        user_vector: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.
        training: whether to drop.

    Returns:
        Logits, float [B, N].

    Reference:
        Product-based neural networks (Qu et al., arXiv 1611.00144), section III.B: IPNN.
    """

    def build_head(self, hidden_dim: int, context_dim: int) -> None:
        if context_dim:
            self.context_kernel = self.add_weight(
                name="context_kernel", shape=(context_dim, hidden_dim), initializer="glorot_uniform"
            )
        self.build_dense(3 * hidden_dim + 3 if context_dim else 2 * hidden_dim + 1)

    def call(
        self, user_vector: Tensor, candidates: Tensor, context: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        fields = [flatten(user_vector), flatten(candidates)]
        if context is not None:
            fields.append(linear(flatten(context), self.context_kernel))
        pairs = [(first, second) for number, first in enumerate(fields) for second in fields[number + 1 :]]
        scale = 1.0 / user_vector.shape[-1] ** 0.5
        products = [ops.sum(first * second, axis=-1, keepdims=True) * scale for first, second in pairs]
        state = self.dense[0](ops.concatenate([*fields, *products], axis=-1))
        return ops.reshape(self.rest_of_dense(state, training), ops.shape(user_vector)[:2])
