"""Ranking by a deep & cross network."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.linear import flatten


@keras.saving.register_keras_serializable(package="atrank_tf")
class DCNHead(keras.layers.Layer):
    """Scores by the cross network of DCN-v2 on [e_u; h_t; context].

    Rough sketch:
        x_0 = [e_u; h_t; context],   x_{l+1} = x_0 * (W_l x_l + b_l) + x_l,   logit = w x_L + b

    Together with `DNNHead` it is the parallel form of DCN-v2.

    Args:
        layers: L, the number of cross layers: products of up to L + 1 numbers.

    Call arguments:
        read: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.

    Returns:
        Logits, float [B, N].

    Reference:
        DCN V2 (Wang et al., arXiv 2008.13535), equation 1.
    """

    def __init__(self, layers: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if layers <= 0:
            raise ValueError(f"layers must be positive. Received: layers={layers}.")
        self.layers = layers

    def build(
        self,
        read_shape: tuple[int | None, ...],
        candidates_shape: tuple[int | None, ...],
        context_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        width = 2 * int(read_shape[-1])  # type: ignore[arg-type]
        width += int(context_shape[-1]) if context_shape else 0  # type: ignore[arg-type]
        self.cross = [
            keras.layers.Dense(width, dtype=self.dtype_policy, name=f"cross_{place}") for place in range(self.layers)
        ]
        self.last = keras.layers.Dense(1, dtype=self.dtype_policy, name="last")
        for layer in (*self.cross, self.last):
            layer.build((None, width))

    def call(self, read: Any, candidates: Any, context: Any = None) -> Any:
        codes = [read, candidates] if context is None else [read, candidates, context]
        start = state = ops.concatenate([flatten(code) for code in codes], axis=-1)
        for layer in self.cross:
            state = start * layer(state) + state
        return ops.reshape(self.last(state), ops.shape(read)[:2])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"layers": self.layers}
