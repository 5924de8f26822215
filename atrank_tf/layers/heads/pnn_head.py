"""Ranking by a product-based network."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dropout import Dropout
from atrank_tf.layers.linear import flatten, linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class PNNHead(keras.layers.Layer):
    """Scores by a DNN on the fields e_u, h_t and the context, and on the inner products of each two of them.

    Rough sketch:
        fields = e_u, h_t, V context
        logit = DNN([fields; <field_i, field_j> / sqrt(D) for each pair])

    V brings the context to the width of the others; the scale is that of `DotHead`.

    Args:
        hidden: widths of the hidden layers.
        dropout: share of each hidden layer that training drops.

    Call arguments:
        read: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.

    Returns:
        Logits, float [B, N].

    Reference:
        Product-based neural networks (Qu et al., arXiv 1611.00144), section III.B: IPNN.
    """

    def __init__(self, hidden: Sequence[int], dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = tuple(hidden)
        self.dropout = dropout

    def build(
        self,
        read_shape: tuple[int | None, ...],
        candidates_shape: tuple[int | None, ...],
        context_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        width = int(read_shape[-1])  # type: ignore[arg-type]
        if context_shape:
            self.context_kernel = self.add_weight(
                name="context_kernel", shape=(context_shape[-1], width), initializer="glorot_uniform"
            )
        size = 3 * width + 3 if context_shape else 2 * width + 1
        self.dense = []
        for place, units in enumerate((*self.hidden, 1)):
            activation = "relu" if place < len(self.hidden) else None
            layer = keras.layers.Dense(units, activation, dtype=self.dtype_policy, name=f"dense_{place}")
            layer.build((None, size))
            self.dense.append(layer)
            size = units
        self.drop = Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, read: Any, candidates: Any, context: Any = None, training: bool | None = None) -> Any:
        fields = [flatten(read), flatten(candidates)]
        if context is not None:
            fields.append(linear(flatten(context), self.context_kernel))
        pairs = [(first, second) for place, first in enumerate(fields) for second in fields[place + 1 :]]
        scale = 1.0 / read.shape[-1] ** 0.5
        products = [ops.sum(first * second, axis=-1, keepdims=True) * scale for first, second in pairs]
        first, *rest = self.dense
        state = first(ops.concatenate([*fields, *products], axis=-1))
        for layer in rest:
            state = layer(self.drop(state, training=training))
        return ops.reshape(state, ops.shape(read)[:2])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"hidden": self.hidden, "dropout": self.dropout}
