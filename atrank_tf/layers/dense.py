"""Dense layers: a linear map, the feed-forward network, a group's projection, and the scale of vectors."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dropout import Dropout
from atrank_tf.types import Shape, Tensor


def linear(inputs: Tensor, kernel: Tensor) -> Tensor:
    """Multiplies the last axis: [..., D] by [D, E] -> [..., E].

    The other axes are folded into one. A product of a batch with one matrix gives the same numbers, but its gradient
    is computed batch element by batch element and then summed (twice as slow on CPU), and oneDNN has crashed on some of
    its shapes.
    """
    shape = ops.shape(inputs)
    return ops.reshape(ops.matmul(flatten(inputs), kernel), (*shape[:-1], kernel.shape[-1]))


def linear_concat(parts: Sequence[Tensor], kernel: Tensor) -> Tensor:
    """Multiplies the concatenation of parts along the last axis, part by part, so that nothing is concatenated.

    Args:
        parts: float [..., D_1], [..., D_2], ...
        kernel: float [D_1 + D_2 + ..., E]; rows beyond the parts are left out, as if their inputs were 0.

    Returns:
        float [..., E].
    """
    kernel, start, total = ops.convert_to_tensor(kernel), 0, None
    for part in parts:
        end = start + part.shape[-1]
        product = linear(part, kernel[start:end])
        total = product if total is None else total + product
        start = end
    return total


def unit_rms(inputs: Tensor) -> Tensor:
    """Scales vectors [..., D] to a root mean square of 1: x / sqrt(mean(x^2)). A vector of zeros stays one."""
    wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))  # Squares may leave float16's range.
    scale = ops.rsqrt(ops.mean(ops.square(wide), axis=-1, keepdims=True) + 1e-12)
    return ops.cast(wide * scale, inputs.dtype)


def flatten(inputs: Tensor) -> Tensor:
    """Folds all axes but the last into one: [..., D] -> [M, D]."""
    return ops.reshape(inputs, (-1, inputs.shape[-1]))


@keras.saving.register_keras_serializable(package="atrank_tf")
class FeedForward(keras.layers.Layer):
    """Applies two dense layers with residual connection and layer normalization.

    Rough sketch:
        out = norm(x + W_2 relu(W_1 x + b_1) + b_2)

    Args:
        intermediate_dim: units of the layer between.
        dropout: share of the second layer's output that training drops. Defaults to 0.
        outer_initializer: of W_2; "zeros" for a network that begins as norm(x). Defaults to "glorot_uniform".

    Call arguments:
        inputs: float [..., D].
        training: whether to drop.

    Returns:
        float [..., D].

    Reference:
        ATRank (arXiv 1711.06632): F_self and F_vanilla.
    """

    def __init__(
        self,
        intermediate_dim: int,
        dropout: float = 0.0,
        outer_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout
        self.outer_initializer = outer_initializer

    def build(self, inputs_shape: Shape) -> None:
        self.inner = keras.layers.Dense(self.intermediate_dim, "relu", dtype=self.dtype_policy, name="inner")
        self.outer = keras.layers.Dense(
            inputs_shape[-1], kernel_initializer=self.outer_initializer, dtype=self.dtype_policy, name="outer"
        )
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
        return super().get_config() | {
            "intermediate_dim": self.intermediate_dim,
            "dropout": self.dropout,
            "outer_initializer": keras.initializers.serialize(keras.initializers.get(self.outer_initializer)),
        }


@keras.saving.register_keras_serializable(package="atrank_tf")
class GroupProjection(keras.layers.Layer):
    """Projects the behaviors of one group to the hidden dim that all groups share: F_M(u_bg).

    Rough sketch:
        out = f(u W + b)

    Glossary: B users, T_g behaviors of the group (or candidates), D_g dimension of their embeddings, D hidden dim.

    Args:
        hidden_dim: D.
        activation: f; None or "linear" for none. Defaults to None.
        kernel_initializer: of W. Defaults to "glorot_uniform".

    Call arguments:
        behaviors: float [B, T_g, D_g].

    Returns:
        float [B, T_g, D].

    Reference:
        ATRank (arXiv 1711.06632), section "Behavior embedding spaces".
    """

    def __init__(
        self,
        hidden_dim: int,
        activation: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = kernel_initializer

    def build(self, behaviors_shape: Shape) -> None:
        shape = (behaviors_shape[-1], self.hidden_dim)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(self.hidden_dim,), initializer="zeros")

    def call(self, behaviors: Tensor) -> Tensor:
        return self.activation(linear(behaviors, self.kernel) + self.bias)

    def compute_output_shape(self, behaviors_shape: Shape) -> Shape:
        return (*behaviors_shape[:-1], self.hidden_dim)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "hidden_dim": self.hidden_dim,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(keras.initializers.get(self.kernel_initializer)),
        }
