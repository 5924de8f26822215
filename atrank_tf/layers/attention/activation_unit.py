"""DIN's attention: behaviors summed by weights that a small network gives them."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dense import linear, unit_rms
from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class ActivationUnit(keras.layers.Layer):
    """Sums the behaviors, each by a weight that a small network gives it for the candidate.

    Rough sketch:
        a_j = DNN([h; e; h - e; h * e])  of h = |h_t|, e = |e_j|,   |x| = x / sqrt(mean(x^2))
        e_u = sum over the real behaviors a_j e_j

    The weights are not normalized: many behaviors that fit are a stronger interest than one. Hidden layers are relu.
    Sigmoid ones, as in the authors' code, let little of what differs between behaviors through, so that the weights of
    a new unit are all but equal; Dice, which normalizes by the batch, would let a score depend on the other rows, and
    in training on the label.

    Glossary: B users, N candidates, T behaviors, D hidden dim.

    Masking: a masked behavior has weight 0. An empty memory gives exactly 0.

    Args:
        hidden_units: units of each hidden layer, at least one layer.

    Call arguments:
        candidates: float [B, N, D].
        memory: float [B, T, D].
        memory_mask: bool [B, T], True = real.

    Returns:
        User vectors, float [B, N, D].

    Raises:
        ValueError: there is no hidden layer, or one without units.

    Reference:
        Deep interest network (Zhou et al., arXiv 1706.06978), section 4.3 and equation 3.
    """

    def __init__(self, hidden_units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)
        if not self.hidden_units or any(units <= 0 for units in self.hidden_units):
            raise ValueError(f"Expected positive hidden_units. Received: hidden_units={self.hidden_units}.")

    def build(self, candidates_shape: Shape) -> None:
        input_dim = 4 * int(candidates_shape[-1])
        self.dense = []
        for number, units in enumerate((*self.hidden_units, 1)):
            hidden = number < len(self.hidden_units)
            activation, initializer = ("relu", "he_uniform") if hidden else (None, "glorot_uniform")
            layer = keras.layers.Dense(
                units, activation, kernel_initializer=initializer, dtype=self.dtype_policy, name=f"dense_{number}"
            )
            layer.build((None, input_dim))
            self.dense.append(layer)
            input_dim = units

    def call(self, candidates: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        first, *rest = self.dense
        state = first.activation(self._first(unit_rms(candidates), unit_rms(memory)) + first.bias)  # [B, N, T, units]
        for layer in rest:
            state = layer.activation(linear(state, layer.kernel) + layer.bias)
        weights = state[..., 0] * ops.cast(memory_mask[:, None], state.dtype)  # [B, N, T]
        return ops.matmul(weights, memory)

    def compute_output_shape(self, candidates_shape: Shape, *_: Any) -> Shape:
        return candidates_shape

    def _first(self, candidates: Tensor, memory: Tensor) -> Tensor:
        """[h; e; h - e; h * e] times the first kernel, as h (K_0 + K_2) + e (K_1 - K_2) + (h * e) K_3: what is of one
        side alone is computed once for it, not for each pair."""
        kernel, dim = ops.convert_to_tensor(self.dense[0].kernel), candidates.shape[-1]
        of_candidate, of_behavior, of_difference, of_product = (kernel[dim * i : dim * (i + 1)] for i in range(4))
        candidate = linear(candidates, of_candidate + of_difference)[:, :, None]
        behavior = linear(memory, of_behavior - of_difference)[:, None]
        return candidate + behavior + linear(candidates[:, :, None] * memory[:, None], of_product)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"hidden_units": self.hidden_units}
