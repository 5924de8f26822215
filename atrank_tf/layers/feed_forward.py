"""The feed-forward network that follows an attention."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dropout import Dropout
from atrank_tf.layers.linear import flatten


@keras.saving.register_keras_serializable(package="atrank_tf")
class FeedForward(keras.layers.Layer):
    """Two dense layers with residual connection and layer normalization: norm(x + W2 relu(W1 x)).

    Args:
        hidden: width of the layer between.
        dropout: share of the output that training drops before it is added.

    Call arguments:
        inputs: float [..., D].

    Returns:
        float [..., D].

    Reference:
        ATRank (arXiv 1711.06632): F_self and F_vanilla.
    """

    def __init__(self, hidden: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = hidden
        self.dropout = dropout

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        self.inner = keras.layers.Dense(self.hidden, activation="relu", dtype=self.dtype_policy, name="inner")
        self.outer = keras.layers.Dense(inputs_shape[-1], dtype=self.dtype_policy, name="outer")
        self.drop = Dropout(self.dropout, dtype=self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
        self.inner.build((None, inputs_shape[-1]))
        self.outer.build((None, self.hidden))
        self.norm.build((None, inputs_shape[-1]))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        flat = flatten(inputs)
        flat = self.norm(flat + self.drop(self.outer(self.inner(flat)), training=training))
        return ops.reshape(flat, ops.shape(inputs))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"hidden": self.hidden, "dropout": self.dropout}
