"""The closed form of Adam's steps on a row that no batch reads."""

from typing import Any

import tensorflow as tf

SHARES = (1 / 4, 3 / 4)
"""The deferred steps are taken in strides, a short one first: momentum is gone after some ten steps. One stride errs by
up to 4%, two by up to 2.3%, three by up to 1.5%; each costs the same."""


# A function that stays one: inlined into every lookup, it took half of the time before the first step.
@tf.function(  # type: ignore[untyped-decorator]
    reduce_retracing=True, autograph=False, experimental_attributes={"_noinline": True}
)
def deferred_adam(
    weight: Any,
    momentum: Any,
    velocity: Any,
    *,
    last_step: Any,
    steps: Any,
    learning_rate: Any,
    log_decay: Any,
    l2: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> tuple[Any, Any, Any]:
    """Takes rows through the steps of dense Adam in which their gradient is that of the penalty l2 * sum(w^2) alone.

    Rough sketch. While sqrt(v) stands still, such a step is linear in (w, m):
        m <- b1 m + (1 - b1) 2 l2 w
        w <- w - a m,               a = lr sqrt(1 - b2^t) / (1 - b1^t) / (sqrt(v) + epsilon)
    so a stride of h steps is the h-th power of a 2x2 matrix of determinant b1, which has a closed form: a fast and a
    slow decay if a is small, an oscillation that dies out as b1^(h/2) if it is large. v itself moves a thousandth a
    step; each stride uses its value at the stride's middle, and moves it by the mean of the squared gradient.

    It is an approximation: see `SparseAdam` for its error.

    Glossary: U rows, D width.

    Args:
        weight, momentum, velocity: float [U, D], w, m and v after the last step that the row has seen.
        last_step: float [U, 1], the number of that step; the first step of a training is 1.
        steps: float [U, 1], deferred steps after it.
        learning_rate: float [U, 1], its mean over the deferred steps.
        log_decay: float [U, 1], sum of log(1 - learning_rate * weight_decay) over the deferred steps.
        l2, beta_1, beta_2, epsilon: of the optimizer.

    Returns:
        w, m and v after the deferred steps, float [U, D].
    """
    penalty = 2.0 * l2
    for share in SHARES:
        stride = steps * share
        middle = tf.pow(beta_2, stride / 2 + 0.5)
        at = last_step + stride / 2 + 0.5
        rate = learning_rate * tf.sqrt(1 - tf.pow(beta_2, at)) / (1 - tf.pow(beta_1, at))
        pull = penalty * weight
        scale = rate / (tf.sqrt(middle * velocity + (1 - middle) * tf.square(pull)) + epsilon)
        moved, momentum = _power(weight, momentum, scale, stride, penalty, beta_1)
        if l2:
            left = tf.pow(beta_2, stride)
            mean_square = (tf.square(weight) + weight * moved + tf.square(moved)) / 3
            velocity = left * velocity + (1 - left) * (penalty * penalty) * mean_square
        else:
            velocity = tf.pow(beta_2, stride) * velocity
        weight = moved * tf.exp(log_decay * share)
        last_step += stride
    return weight, momentum, velocity


def _power(weight: Any, momentum: Any, scale: Any, stride: Any, penalty: float, beta_1: float) -> tuple[Any, Any]:
    """`stride` steps of the linear map, by its eigenvalues 1 - x: x^2 - 2 half x + c = 0."""
    # Beyond this bound dense Adam jumps across zero in each step, on rows that are about zero already.
    c = tf.minimum((1 - beta_1) * penalty * scale, 1 + beta_1)
    half = (1 - beta_1 + c) / 2
    spread = tf.square(half) - c
    real = spread > 0
    root = tf.sqrt(tf.maximum(tf.abs(spread), 1e-12))
    # slow = half - root would lose all digits of a small c.
    fast = half + root
    slow_power = tf.exp(stride * tf.math.log1p(-c / fast))
    fast_power = tf.exp(stride * tf.math.log1p(-tf.minimum(fast, 0.999)))
    size = tf.pow(beta_1, stride / 2)
    angle = stride * tf.atan(root / tf.maximum(1 - half, 1e-6))
    even = tf.where(real, (slow_power + fast_power) / 2, size * tf.cos(angle))
    odd = tf.where(real, (slow_power - fast_power) / 2, size * tf.sin(angle)) / root
    # The map minus the mean of its eigenvalues, 1 - half.
    momentum_once = beta_1 * momentum + (1 - beta_1) * penalty * weight
    weight_change = half * weight - scale * momentum_once
    momentum_change = momentum_once - (1 - half) * momentum
    return even * weight + odd * weight_change, even * momentum + odd * momentum_change
