"""Ranking by a network."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dropout import Dropout
from atrank_tf.layers.linear import flatten, linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class DNNHead(keras.layers.Layer):
    """Scores by a DNN on [e_u; h_t; e_u * h_t; context].

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
        ATRank (arXiv 1711.06632), section "Downstream application network", which leaves the network free.
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
        width = 3 * int(read_shape[-1])  # type: ignore[arg-type]
        width += int(context_shape[-1]) if context_shape else 0  # type: ignore[arg-type]
        self.dense = []
        for place, size in enumerate((*self.hidden, 1)):
            last = place == len(self.hidden)
            layer = keras.layers.Dense(
                size, activation=None if last else "relu", dtype=self.dtype_policy, name=f"dense_{place}"
            )
            layer.build((None, width))
            self.dense.append(layer)
            width = size
        self.drop = Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, read: Any, candidates: Any, context: Any = None, training: bool | None = None) -> Any:
        first, *rest = self.dense
        state = first.activation(flatten(self._first(read, candidates, context)) + first.bias)
        for layer in rest:
            state = layer(self.drop(state, training=training))
        return ops.reshape(state, ops.shape(read)[:2])

    def _first(self, read: Any, candidates: Any, context: Any) -> Any:
        """[e_u; h_t; e_u * h_t; context] times the first kernel, part by part: nothing is laid side by side."""
        kernel, width = ops.convert_to_tensor(self.dense[0].kernel), read.shape[-1]
        state = linear(read, kernel[:width]) + linear(candidates, kernel[width : 2 * width])
        state = state + linear(read * candidates, kernel[2 * width : 3 * width])
        return state if context is None else state + linear(context, kernel[3 * width :])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"hidden": self.hidden, "dropout": self.dropout}
