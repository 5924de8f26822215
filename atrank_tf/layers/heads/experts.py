"""Experts that several tasks share, and the gate through which a task mixes them (MMoE, PLE)."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dense import linear
from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class Experts(keras.layers.Layer):
    """Applies E dense layers to the same input, each with as many units as the input has.

    Rough sketch:
        expert_e = relu(x W_e)

    There is no bias, so that an input of zeros, the user vector of an empty history, stays zeros.

    Args:
        num_experts: E.

    Call arguments:
        inputs: float [..., D].

    Returns:
        float [..., E, D].

    Raises:
        ValueError: `num_experts` is not positive.

    Reference:
        MMoE (Ma et al., KDD 2018), section 4; PLE (Tang et al., RecSys 2020), section 4.
    """

    def __init__(self, num_experts: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_experts <= 0:
            raise ValueError(f"num_experts must be positive. Received: num_experts={num_experts}.")
        self.num_experts = num_experts

    def build(self, inputs_shape: Shape) -> None:
        dim = inputs_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(dim, self.num_experts * dim),
            initializer=keras.initializers.VarianceScaling(scale=self.num_experts, mode="fan_avg"),
        )

    def call(self, inputs: Tensor) -> Tensor:
        experts = ops.relu(linear(inputs, self.kernel))
        return ops.reshape(experts, (*ops.shape(inputs)[:-1], self.num_experts, inputs.shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"num_experts": self.num_experts}


@keras.saving.register_keras_serializable(package="atrank_tf")
class ExpertGate(keras.layers.Layer):
    """Mixes experts by weights that depend on their input, and adds the input.

    Rough sketch:
        out = x + sum over e of softmax(x G)_e expert_e

    The sum with x is not in the papers: there, towers of their own follow; here, the ranking heads that do without
    experts, which take x.

    Call arguments:
        inputs: float [..., D], the input of the experts.
        experts: float [..., E, D].

    Returns:
        float [..., D].

    Reference:
        MMoE (Ma et al., KDD 2018), equations 6 and 7; PLE (Tang et al., RecSys 2020), equations 1 to 3, where the
        experts are the shared ones and the task's own.
    """

    def build(self, inputs_shape: Shape, experts_shape: Shape) -> None:
        shape = (inputs_shape[-1], experts_shape[-2])
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")

    def call(self, inputs: Tensor, experts: Tensor) -> Tensor:
        weights = ops.softmax(linear(inputs, self.kernel), axis=-1)
        return inputs + ops.sum(ops.expand_dims(weights, -1) * experts, axis=-2)

    def compute_output_shape(self, inputs_shape: Shape, *_: Any) -> Shape:
        return inputs_shape
