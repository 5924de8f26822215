"""Ranking by a dense network."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dense import flatten, linear_concat
from atrank_tf.layers.heads.ranking_head import RankingHead
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class DNNHead(RankingHead):
    """Scores by a dense network on user vector, candidate, their product, context and counts.

    Rough sketch:
        logit = DNN([u; v; u * v; context; counts])

    Hidden layers are silu, which reads counts better than relu does (docs/decisions.md); the last layer is linear.

    Args:
        hidden_units: units of each hidden layer; none makes the head linear.

    Call arguments:
        user_vector: float [B, N, D].
        candidates: float [B, N, D].
        context: float [B, N, D_c], or None.
        counts: float [B, N, C], or None.

    Returns:
        Logits, float [B, N].

    Reference:
        ATRank (arXiv 1711.06632), section "Downstream application network", which leaves the network free.
        Silu: Elfwing et al., "Sigmoid-Weighted Linear Units" (arXiv 1702.03118).
    """

    def __init__(self, hidden_units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)

    def build_head(self, hidden_dim: int, known_dim: int) -> None:
        self.dense, input_dim = [], 3 * hidden_dim + known_dim
        for number, units in enumerate((*self.hidden_units, 1)):
            activation = "silu" if number < len(self.hidden_units) else None
            layer = keras.layers.Dense(units, activation, dtype=self.dtype_policy, name=f"dense_{number}")
            layer.build((None, input_dim))
            self.dense.append(layer)
            input_dim = units

    def call(
        self,
        user_vector: Tensor,
        candidates: Tensor,
        context: Tensor | None = None,
        counts: Tensor | None = None,
    ) -> Tensor:
        known = [part for part in (context, counts) if part is not None]
        first = self.dense[0]
        state = linear_concat([user_vector, candidates, user_vector * candidates, *known], first.kernel)
        state = first.activation(flatten(state) + first.bias)  # [B * N, units]
        for layer in self.dense[1:]:
            state = layer(state)
        return ops.reshape(state, ops.shape(user_vector)[:2])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"hidden_units": self.hidden_units}
