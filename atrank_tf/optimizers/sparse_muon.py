"""Muon for weight matrices, beside Adam for embedding tables and all else."""

import math
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.optimizers.sparse_adam import SparseAdam

LEAST_SIZE = 16
"""Rows and columns that a matrix has at least: smaller ones have few directions, and take Adam's steps."""
_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Of the polynomial, by Muon's authors: small singular values grow fastest, and all end near 1, not at it."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class SparseMuon(SparseAdam):
    """Muon, which moves a weight matrix in all its directions alike, and `SparseAdam` for every other variable.

    Rough sketch, of a matrix W [n, m] with gradient G:
        M <- mu M + (1 - mu) G
        W <- W - rate 0.2 sqrt(max(n, m)) orthogonal(mu M + (1 - mu) G)
    orthogonal(U S V^T) is about U V^T. The factor makes the entries of a step about as large as Adam's.

    A matrix is a variable whose name ends in "kernel", of which the last two axes have `LEAST_SIZE` or more; axes
    before them count matrices. Embedding tables, biases, norms, time biases, and the last layer of a network take
    Adam's steps.

    Args:
        learning_rate: float, schedule or callable; of all variables.
        momentum: mu.
        kwargs: of `SparseAdam`.

    Reference:
        Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon); the factor of the size: Liu et al., "Muon
        is Scalable for LLM Training" (arXiv 2502.16982).
    """

    def __init__(self, learning_rate: Any = 0.001, *, momentum: float = 0.95, **kwargs: Any) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1. Received: momentum={momentum}.")
        super().__init__(learning_rate, **kwargs)
        self.momentum = momentum

    def has_velocity(self, variable: Any) -> bool:
        is_table = hasattr(variable, "apply_pending")
        return is_table or not variable.name.endswith("kernel") or min(variable.shape[-2:]) < LEAST_SIZE

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        number = self._get_variable_index(variable)
        if self._velocities[number] is not None:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient, momentum = tf.cast(gradient, variable.dtype), self._momentums[number]
        self.assign(momentum, self.momentum * momentum + (1 - self.momentum) * gradient)
        ahead = self.momentum * momentum + (1 - self.momentum) * gradient
        size = 0.2 * math.sqrt(max(variable.shape[-2:]))
        self.assign_sub(variable, tf.cast(learning_rate, variable.dtype) * size * orthogonal(ahead))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"momentum": self.momentum}


def orthogonal(matrices: Any, iterations: int = 3) -> Any:
    """Returns about U V^T of matrices U S V^T, float [..., n, m], by Newton-Schulz iterations.

    An iteration takes each singular value s to 3.4445 s - 4.7750 s^3 + 2.0315 s^5: a polynomial of X X^T does that to
    all at once. Polynomials of one matrix commute, so all but the first and the last product are of the smaller side.

    Args:
        matrices: float [..., n, m].
        iterations: more reach smaller singular values: beside the largest by the norm, 3 those of 0.02 and above.

    Returns:
        float [..., n, m], whose singular values are near 1 (0.7 to 1.2) but for those that were very small.
    """
    matrices /= tf.norm(matrices, axis=(-2, -1), keepdims=True) + 1e-30
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    square = tf.matmul(matrices, matrices, transpose_a=is_tall, transpose_b=not is_tall)
    total = None
    for number in range(iterations):
        factor = _A * tf.eye(square.shape[-1], dtype=square.dtype) + _B * square + _C * tf.matmul(square, square)
        total = factor if total is None else tf.matmul(total, factor)
        if number < iterations - 1:
            square = tf.matmul(tf.matmul(factor, square), factor)
    return tf.matmul(matrices, total) if is_tall else tf.matmul(total, matrices)
