"""Linear maps, each as one matrix product."""

from collections.abc import Sequence

from keras import ops

from atrank_tf.types import Tensor


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


def flatten(inputs: Tensor) -> Tensor:
    """Folds all axes but the last into one: [..., D] -> [M, D]."""
    return ops.reshape(inputs, (-1, inputs.shape[-1]))
