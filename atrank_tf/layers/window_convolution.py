"""Convolutions over windows of neighboring behaviors."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.attention.masks import zero_padding
from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class WindowConvolution(keras.layers.Layer):
    """Convolves a sequence in windows of 1, 2, ..., W behaviors, each with its own share of the units.

    Rough sketch:
        out_t = [relu(conv_1(x)_t); ...; relu(conv_W(x)_t)]

    A window stands around its behavior, an even one reaching one further into the future.

    Glossary: B users, T behaviors, D hidden dim.

    Masking: padding counts as zeros, as what is beyond either end of the sequence.

    Args:
        windows: W, the widest window; must divide D.

    Call arguments:
        behaviors: float [B, T, D], in the order of time, T above 0.
        behavior_mask: bool [B, T], True = real, padding last.

    Returns:
        float [B, T, D].

    Raises:
        ValueError: `windows` is not positive, or does not divide D.

    Reference:
        ATRank (arXiv 1711.06632), baseline "CNN+Pooling", after Kim (arXiv 1408.5882).
    """

    def __init__(self, windows: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if windows <= 0:
            raise ValueError(f"windows must be positive. Received: windows={windows}.")
        self.windows = windows

    def build(self, behaviors_shape: Shape) -> None:
        hidden_dim = int(behaviors_shape[-1])
        if hidden_dim % self.windows:
            raise ValueError(f"windows must divide the hidden dim {hidden_dim}. Received: windows={self.windows}.")
        self.convolutions = [
            keras.layers.Conv1D(
                hidden_dim // self.windows,
                size,
                padding="same",
                activation="relu",
                dtype=self.dtype_policy,
                name=f"window_{size}",
            )
            for size in range(1, self.windows + 1)
        ]
        for convolution in self.convolutions:
            convolution.build((None, None, hidden_dim))

    def call(self, behaviors: Tensor, behavior_mask: Tensor) -> Tensor:
        behaviors = zero_padding(behaviors, behavior_mask)
        # One user more: of none TensorFlow's convolution gives what has not as many units as it should.
        behaviors = ops.pad(behaviors, ((0, 1), (0, 0), (0, 0)))
        return ops.concatenate([convolution(behaviors) for convolution in self.convolutions], axis=-1)[:-1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"windows": self.windows}
