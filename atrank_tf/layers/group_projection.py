"""Groups of different widths -> one common width."""

from typing import Any

import keras

from atrank_tf.layers.linear import linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class GroupProjection(keras.layers.Layer):
    """Projects the behaviors of one group to the width that all groups share: F_M(u_bg).

    Args:
        width: D.
        activation: of the projection; "linear" for none.

    Call arguments:
        behaviors: float [B, T_g, D_g].

    Returns:
        float [B, T_g, D].

    Reference:
        ATRank (arXiv 1711.06632), section "Behavior embedding spaces".
    """

    def __init__(self, width: int, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.activation = keras.activations.get(activation)

    def build(self, behaviors_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            name="kernel", shape=(behaviors_shape[-1], self.width), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(self.width,), initializer="zeros")

    def call(self, behaviors: Any) -> Any:
        return self.activation(linear(behaviors, self.kernel) + self.bias)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "activation": keras.activations.serialize(self.activation),
        }
