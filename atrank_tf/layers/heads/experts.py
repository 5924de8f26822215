"""Experts shared by several tasks, and the gate through which a task mixes them (MMoE, PLE)."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.linear import linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class Experts(keras.layers.Layer):
    """E networks of one layer on the same input: relu(x W_e), as wide as the input.

    There is no bias, so that an input of zeros, as an empty history is read, stays zeros.

    Args:
        num_experts: E.

    Call arguments:
        inputs: float [..., D].

    Returns:
        float [..., E, D].

    Reference:
        MMoE (Ma et al., KDD 2018), section 4; PLE (Tang et al., RecSys 2020), section 4.
    """

    def __init__(self, num_experts: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_experts <= 0:
            raise ValueError(f"num_experts must be positive. Received: num_experts={num_experts}.")
        self.num_experts = num_experts

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        width = inputs_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(width, self.num_experts * width),  # type: ignore[operator]
            initializer=keras.initializers.VarianceScaling(scale=self.num_experts, mode="fan_avg"),
        )

    def call(self, inputs: Any) -> Any:
        every = ops.relu(linear(inputs, self.kernel))
        return ops.reshape(every, (*ops.shape(inputs)[:-1], self.num_experts, inputs.shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"num_experts": self.num_experts}


@keras.saving.register_keras_serializable(package="atrank_tf")
class ExpertGate(keras.layers.Layer):
    """Mixes experts by weights that depend on their input, and adds the input.

    Rough sketch:
        out = x + sum over e of softmax(x G)_e expert_e

    The sum with x is not in the papers: there, towers of their own follow; here, the ranking networks that do without
    experts, which read x.

    Call arguments:
        inputs: float [..., D], what the experts saw.
        experts: float [..., E, D].

    Returns:
        float [..., D].

    Reference:
        MMoE (Ma et al., KDD 2018), equations 6 and 7; PLE (Tang et al., RecSys 2020), equations 1 to 3, where the
        experts are the shared ones and the task's own.
    """

    def build(self, inputs_shape: tuple[int | None, ...], experts_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            name="kernel", shape=(inputs_shape[-1], experts_shape[-2]), initializer="glorot_uniform"
        )

    def call(self, inputs: Any, experts: Any) -> Any:
        weights = ops.softmax(linear(inputs, self.kernel), axis=-1)
        return inputs + ops.sum(ops.expand_dims(weights, -1) * experts, axis=-2)

    def compute_output_shape(self, inputs_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        return inputs_shape
