"""Feed-forward network that follows an attention."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dropout import Dropout
from atrank_tf.layers.linear import flatten
from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class FeedForward(keras.layers.Layer):
    """Applies two dense layers with residual connection and layer normalization.

    Rough sketch:
        out = norm(x + W_2 relu(W_1 x + b_1) + b_2)

    Args:
        intermediate_dim: units of the layer between.
        dropout: share of the second layer's output that training drops. Defaults to 0.

    Call arguments:
        inputs: float [..., D].
        training: whether to drop.

    Returns:
        float [..., D].

    Reference:
        ATRank (arXiv 1711.06632): F_self and F_vanilla.
    """

    def __init__(self, intermediate_dim: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout

    def build(self, inputs_shape: Shape) -> None:
        self.inner = keras.layers.Dense(self.intermediate_dim, "relu", dtype=self.dtype_policy, name="inner")
        self.outer = keras.layers.Dense(inputs_shape[-1], dtype=self.dtype_policy, name="outer")
        self.drop = Dropout(self.dropout, dtype=self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
        self.inner.build((None, inputs_shape[-1]))
        self.outer.build((None, self.intermediate_dim))
        self.norm.build((None, inputs_shape[-1]))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        flat = flatten(inputs)
        flat = self.norm(flat + self.drop(self.outer(self.inner(flat)), training=training))
        return ops.reshape(flat, ops.shape(inputs))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"intermediate_dim": self.intermediate_dim, "dropout": self.dropout}
