"""Ranking by a deep & cross network."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.heads.ranking_head import RankingHead, concat_inputs
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class DCNHead(RankingHead):
    """Scores by the cross network of DCN-v2 on user vector, candidate and context.

    Rough sketch:
        x_0 = [u; v; context],   x_{l+1} = x_0 * (W_l x_l + b_l) + x_l,   logit = w x_L + b

    Together with `DNNHead` it is the parallel form of DCN-v2.

    Args:
        num_layers: L, the number of cross layers: products of up to L + 1 numbers.

    Call arguments:
        user_vector: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.

    Returns:
        Logits, float [B, N].

    Reference:
        DCN V2 (Wang et al., arXiv 2008.13535), equation 1.
    """

    def __init__(self, num_layers: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_layers <= 0:
            raise ValueError(f"num_layers must be positive. Received: num_layers={num_layers}.")
        self.num_layers = num_layers

    def build_head(self, hidden_dim: int, context_dim: int) -> None:
        input_dim = 2 * hidden_dim + context_dim
        self.cross = [
            keras.layers.Dense(input_dim, dtype=self.dtype_policy, name=f"cross_{number}")
            for number in range(self.num_layers)
        ]
        self.last = keras.layers.Dense(1, dtype=self.dtype_policy, name="last")
        for layer in (*self.cross, self.last):
            layer.build((None, input_dim))

    def call(self, user_vector: Tensor, candidates: Tensor, context: Tensor | None = None) -> Tensor:
        start = state = concat_inputs(user_vector, candidates, context)
        for layer in self.cross:
            state = start * layer(state) + state
        return ops.reshape(self.last(state), ops.shape(user_vector)[:2])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"num_layers": self.num_layers}
