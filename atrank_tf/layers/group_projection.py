"""Projection of a group's behaviors to the dimension that all groups share."""

from typing import Any

import keras

from atrank_tf.layers.linear import linear
from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class GroupProjection(keras.layers.Layer):
    """Projects the behaviors of one group to the hidden dim that all groups share: F_M(u_bg).

    Rough sketch:
        out = f(u W + b)

    Glossary: B users, T_g behaviors of the group (or candidates), D_g dimension of their embeddings, D hidden dim.

    Args:
        hidden_dim: D.
        activation: f; None or "linear" for none. Defaults to None.

    Call arguments:
        behaviors: float [B, T_g, D_g].

    Returns:
        float [B, T_g, D].

    Reference:
        ATRank (arXiv 1711.06632), section "Behavior embedding spaces".
    """

    def __init__(self, hidden_dim: int, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.activation = keras.activations.get(activation)

    def build(self, behaviors_shape: Shape) -> None:
        shape = (behaviors_shape[-1], self.hidden_dim)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.hidden_dim,), initializer="zeros")

    def call(self, behaviors: Tensor) -> Tensor:
        return self.activation(linear(behaviors, self.kernel) + self.bias)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "hidden_dim": self.hidden_dim,
            "activation": keras.activations.serialize(self.activation),
        }
