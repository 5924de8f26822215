"""Ranking by a linear model on codes and their crosses."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.linear import flatten, linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class WideHead(keras.layers.Layer):
    """Scores by a linear model on e_u, h_t and the context, and on every product of a number of e_u or the context with
    a number of h_t.

    Rough sketch:
        logit = w [e_u; h_t; context] + [e_u; context] W h_t + b

    The products are what crossed ids are in the paper: something of the user's or the situation's together with
    something of the candidate's.

    Call arguments:
        read: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.

    Returns:
        Logits, float [B, N].

    Reference:
        Wide & deep learning (Cheng et al., arXiv 1606.07792), section 3.1: the wide component.
    """

    def build(
        self,
        read_shape: tuple[int | None, ...],
        candidates_shape: tuple[int | None, ...],
        context_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        width = int(candidates_shape[-1])  # type: ignore[arg-type]
        situation = int(read_shape[-1])  # type: ignore[arg-type]
        situation += int(context_shape[-1]) if context_shape else 0  # type: ignore[arg-type]
        self.kernel = self.add_weight(name="kernel", shape=(situation + width, 1), initializer="glorot_uniform")
        self.cross = self.add_weight(name="cross", shape=(situation, width), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(), initializer="zeros")

    def call(self, read: Any, candidates: Any, context: Any = None) -> Any:
        situation = flatten(read)
        if context is not None:
            situation = ops.concatenate([situation, flatten(context)], axis=-1)
        candidate, width = flatten(candidates), situation.shape[-1]
        kernel = ops.convert_to_tensor(self.kernel)
        logits = linear(situation, kernel[:width])[..., 0] + linear(candidate, kernel[width:])[..., 0]
        logits = logits + ops.sum(linear(situation, self.cross) * candidate, axis=-1) + self.bias
        return ops.reshape(logits, ops.shape(read)[:2])
