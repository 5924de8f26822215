"""The history as one candidate activates it."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.layers.linear import linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class ActivationUnit(keras.layers.Layer):
    """Sums the behaviors, each by a weight that a small network gives it for the candidate.

    Rough sketch:
        a_j = DNN([h_t; e_j; h_t - e_j; h_t * e_j]),   e_u = sum over the real behaviors a_j e_j

    The weights are not normalized: many behaviors that fit are a stronger interest than one. No history gives exactly
    0. Hidden layers are sigmoid, as in the authors' code; Dice, which normalizes by the batch, would let a score depend
    on the other rows, and in training on the label.

    Glossary: B users, N candidates, T behaviors, D width.

    Args:
        hidden: widths of the hidden layers, at least one.

    Call arguments:
        candidates: float [B, N, D].
        memory: float [B, T, D].
        memory_mask: bool [B, T], True = real.

    Returns:
        float [B, N, D].

    Reference:
        Deep interest network (Zhou et al., arXiv 1706.06978), section 4.3 and equation 3.
    """

    def __init__(self, hidden: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden = tuple(hidden)
        if not self.hidden or any(size <= 0 for size in self.hidden):
            raise ValueError(f"Expected positive hidden widths. Received: hidden={self.hidden}.")

    def build(self, candidates_shape: tuple[int | None, ...]) -> None:
        size = 4 * int(candidates_shape[-1])  # type: ignore[arg-type]
        self.dense = []
        for place, units in enumerate((*self.hidden, 1)):
            activation = "sigmoid" if place < len(self.hidden) else None
            layer = keras.layers.Dense(units, activation, dtype=self.dtype_policy, name=f"dense_{place}")
            layer.build((None, size))
            self.dense.append(layer)
            size = units

    def call(self, candidates: Any, memory: Any, memory_mask: Any) -> Any:
        first, *rest = self.dense
        state = first.activation(self._first(candidates, memory) + first.bias)  # [B, N, T, hidden]
        for layer in rest:
            state = layer.activation(linear(state, layer.kernel) + layer.bias)
        weights = state[..., 0] * ops.cast(memory_mask[:, None], state.dtype)  # [B, N, T]
        return ops.matmul(weights, memory)

    def _first(self, candidates: Any, memory: Any) -> Any:
        """[h; e; h - e; h * e] times the first kernel, as h (K_0 + K_2) + e (K_1 - K_2) + (h * e) K_3: what is of one
        side alone is computed once for it, not for each pair."""
        kernel, width = ops.convert_to_tensor(self.dense[0].kernel), candidates.shape[-1]
        of_candidate, of_behavior, of_gap, of_product = (kernel[width * i : width * (i + 1)] for i in range(4))
        candidate = linear(candidates, of_candidate + of_gap)[:, :, None]
        behavior = linear(memory, of_behavior - of_gap)[:, None]
        return candidate + behavior + linear(candidates[:, :, None] * memory[:, None], of_product)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"hidden": self.hidden}
