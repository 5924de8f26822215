"""A linear map as one matrix product."""

from typing import Any

from keras import ops


def linear(inputs: Any, kernel: Any) -> Any:
    """Multiplies the last axis: [..., D] by [D, E] -> [..., E].

    The other axes are folded into one. A product of a batch with one matrix gives the same numbers, but its gradient
    is computed batch element by batch element and then summed (twice as slow on CPU), and oneDNN has crashed on some of
    its shapes.
    """
    shape = ops.shape(inputs)
    return ops.reshape(ops.matmul(flatten(inputs), kernel), (*shape[:-1], kernel.shape[-1]))


def flatten(inputs: Any) -> Any:
    """Folds all axes but the last into one: [..., D] -> [M, D]."""
    return ops.reshape(inputs, (-1, inputs.shape[-1]))
