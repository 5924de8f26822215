"""Ranking by a factorization machine."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.linear import linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class FMHead(keras.layers.Layer):
    """Scores by a factorization machine whose fields are e_u, h_t and the context.

    Rough sketch:
        fields = e_u, h_t, V context
        logit = w [e_u; h_t; context] + sum over pairs <field_i, field_j> / sqrt(D) + b

    V brings the context to the width of the others; the scale is that of `DotHead`. Together with `DNNHead` it is
    DeepFM: both read the same codes.

    Call arguments:
        read: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.

    Returns:
        Logits, float [B, N].

    Reference:
        Factorization machines (Rendle, ICDM 2010); DeepFM (Guo et al., arXiv 1703.04247), equation 2.
    """

    def build(
        self,
        read_shape: tuple[int | None, ...],
        candidates_shape: tuple[int | None, ...],
        context_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        width = int(read_shape[-1])  # type: ignore[arg-type]
        total = 2 * width
        if context_shape:
            total += int(context_shape[-1])  # type: ignore[arg-type]
            self.context_kernel = self.add_weight(
                name="context_kernel", shape=(context_shape[-1], width), initializer="glorot_uniform"
            )
        self.kernel = self.add_weight(name="kernel", shape=(total, 1), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")

    def call(self, read: Any, candidates: Any, context: Any = None) -> Any:
        kernel, width = ops.convert_to_tensor(self.kernel), read.shape[-1]
        logits = linear(read, kernel[:width]) + linear(candidates, kernel[width : 2 * width])
        pairs = read * candidates
        if context is not None:
            logits = logits + linear(context, kernel[2 * width :])
            pairs = pairs + linear(context, self.context_kernel) * (read + candidates)
        return logits[..., 0] + ops.sum(pairs, axis=-1) / (width**0.5) + self.bias
