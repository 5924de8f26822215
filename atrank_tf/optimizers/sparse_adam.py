"""Adam for embedding tables."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.optimizers.sparse_optimizer import Gradients, SparseOptimizer, checked_rate

WHOLE_UP_TO = 1 << 17
"""Numbers in a table up to which `moments="dense"` is dense Adam on all of it: cheaper there than to defer."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class SparseAdam(SparseOptimizer):
    """Adam that updates only the rows of tables that a batch reads; the decay of all other rows is deferred.

    A table is the weight of a `SparseEmbedding`; its rows outside the batch, and their slots, stay as they are. Every
    other variable is treated as by `keras.optimizers.Adam`. What happens to a row in the steps in which no
    batch reads it is told by `moments`:

    - "lazy": nothing. m and v advance when the row is in a batch, and the bias correction counts those times, not the
      steps of the training: m and v average over the gradients that the row has had. (Counting steps instead would
      take the first ten updates of a rare row to be full averages, and make them 3 to 6 times too long.)
    - "dense": what dense Adam would do: m and v fade, the weight drifts, the L2 penalty goes on pulling. It is deferred
      until the row is read next, and then taken in a few strides before its value is used: see `deferred_adam`.
      Learning rates tuned for `keras.optimizers.Adam` stay right. Small tables (`WHOLE_UP_TO` numbers) take the steps
      of dense Adam themselves, and have nothing pending.

    Two kinds of decay, which reach all rows of all tables, read or not:

    - `weight_decay`, decoupled (AdamW): w <- w (1 - learning_rate * weight_decay) in each step. Exact. Other variables
      have it too, as in Keras; with weight_decay_of="matrices" only those of two or more axes have it, and no table.
    - `l2`: the penalty l2 * sum(w^2) of `keras.regularizers.L2`, whose gradient 2 * l2 * w goes through m and v; so it
      is strong on rare rows, whose v is small. Tables only; other variables have regularizers. It is added after
      clipping. Needs moments="dense".

    Against dense Adam with the same penalty (Zipf-distributed ids, 2,000 steps, gradients of 1e-4 to 1e-2, rates 1e-3
    and 1e-2, l2 4e-4), the rows that lookups read differ by 0.5% to 2.3% of their norm, the final table by 0.2% to
    1.5%: `tests/optimizers/test_sparse_adam.py` holds it.

    With decay or moments="dense", build the optimizer before the first step, and apply pending decay before anybody
    else reads the tables: `fit(callbacks=[ApplyPendingDecay()])` does both. `SparseEmbedding(decays=False)` is a table
    without either; `exclude_from_weight_decay` excludes from `weight_decay` alone, and not in a model that is loaded.

    Args:
        learning_rate: float, schedule or callable.
        beta_1, beta_2, epsilon: as in `keras.optimizers.Adam`.
        moments: "lazy" or "dense"; by default "dense" if there is an `l2`, else "lazy".
        weight_decay: decoupled decay.
        weight_decay_of: "all" or "matrices".
        l2: weight of the penalty.
        whole_up_to: numbers in a table up to which `moments="dense"` updates it whole; `WHOLE_UP_TO` if not given.
        kwargs: of `keras.optimizers.Optimizer`: clipnorm, global_clipnorm, clipvalue, name. use_ema,
            gradient_accumulation_steps and loss_scale_factor raise; `keras.optimizers.LossScaleOptimizer` works.

    Reference:
        Adam (arXiv 1412.6980), AdamW (arXiv 1711.05101).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        moments: str | None = None,
        weight_decay: float | None = None,
        weight_decay_of: str = "all",
        l2: float = 0.0,
        whole_up_to: int | None = None,
        **kwargs: Any,
    ) -> None:
        checked_rate("weight_decay", weight_decay)
        checked_rate("l2", l2)
        moments = moments or ("dense" if l2 else "lazy")
        if moments not in ("lazy", "dense"):
            raise ValueError(f'Expected moments="lazy" or "dense". Received: moments={moments!r}.')
        if weight_decay_of not in ("all", "matrices"):
            raise ValueError(
                f'Expected weight_decay_of="all" or "matrices". Received: weight_decay_of={weight_decay_of!r}.'
            )
        if l2 and moments != "dense":
            raise ValueError(
                f'l2 goes through the moments of rows that no batch reads: it needs moments="dense". Received: '
                f"moments={moments!r}, l2={l2}."
            )
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            defers=bool(weight_decay and weight_decay_of == "all") or moments == "dense",
            whole_up_to=0 if moments == "lazy" else WHOLE_UP_TO if whole_up_to is None else whole_up_to,
            **kwargs,
        )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.moments = moments
        self.weight_decay_of = weight_decay_of
        self.l2 = l2

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self._has_l2 = [getattr(variable, "decays", True) for variable in variables]
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities: list[Any] = [
            self.add_variable_from_reference(variable, name="velocity") if self.has_velocity(variable) else None
            for variable in variables
        ]
        self._updates: list[Any] = [
            self.add_slot(variable, (variable.shape[0],), "updates", dtype="int32")
            if row_wise and self.moments == "lazy"
            else None
            for variable, row_wise in zip(variables, self._row_wise, strict=True)
        ]

    def has_velocity(self, variable: Any) -> bool:
        """Whether the steps of a variable are divided by the root of its mean squared gradient."""
        del variable
        return True

    def _use_weight_decay(self, variable: Any) -> bool:
        is_matrix = len(variable.shape) > 1 and not hasattr(variable, "apply_pending")
        return bool(super()._use_weight_decay(variable)) and (self.weight_decay_of == "all" or is_matrix)

    def apply(self, grads: Gradients, trainable_variables: Sequence[Any] | None = None) -> None:
        self._rate_of_step = self._rate(self.iterations + 1, self.learning_rate, tf.float32)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        number = self._get_variable_index(variable)
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(number, gradient.values, gradient.indices, variable, learning_rate)
            return
        momentum, velocity = self._momentums[number], self._velocities[number]
        gradient = tf.cast(gradient, variable.dtype)
        table = self._trainable_variables[number]
        if hasattr(table, "apply_pending"):
            if self.l2 and self._has_l2[number]:
                gradient += 2 * self.l2 * table.value
            if self.weight_decay and self._decays[number]:
                self.assign(variable, table.value * tf.cast(self.decay_factor(number), variable.dtype))
        # One operation, not two dozen: those of small variables were a quarter of what was traced before the first
        # step. Powers of 0 turn off its bias correction, which `_rate_of_step` has.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=tf.zeros((), variable.dtype),
            beta2_power=tf.zeros((), variable.dtype),
            lr=tf.cast(self._rate_of_step, variable.dtype),
            beta1=tf.constant(self.beta_1, variable.dtype),
            beta2=tf.constant(self.beta_2, variable.dtype),
            epsilon=tf.constant(self.epsilon, variable.dtype),
            grad=gradient,
        )

    def _update_rows(self, number: int, gradient: Any, ids: Any, variable: Any, learning_rate: Any) -> None:
        momentums, velocities = self._momentums[number].value, self._velocities[number].value
        weight, momentum, velocity = (tf.gather(table, ids) for table in (variable, momentums, velocities))
        gradient = tf.cast(gradient, variable.dtype)
        if self.l2 and self._has_l2[number]:
            gradient += 2 * self.l2 * weight
        if self.moments == "lazy":
            updates = self._updates[number].value
            count = tf.gather(updates, ids) + 1
            updates.scatter_update(tf.IndexedSlices(count, ids))
            rate = self._rate(count[:, None], learning_rate, variable.dtype)
        else:
            rate = tf.cast(self._rate_of_step, variable.dtype)
        momentum += (gradient - momentum) * (1 - self.beta_1)
        velocity += (tf.square(gradient) - velocity) * (1 - self.beta_2)
        weight *= tf.cast(self.decay_factor(number), weight.dtype)
        weight -= momentum * rate / (tf.sqrt(velocity) + self.epsilon)
        for table, rows in ((variable, weight), (momentums, momentum), (velocities, velocity)):
            table.scatter_update(tf.IndexedSlices(rows, ids))
        self.mark_applied(number, ids)

    def take_deferred_steps(self, number: int, ids: Any, last_step: Any, pending: Any) -> None:
        if self.moments == "lazy":
            super().take_deferred_steps(number, ids, last_step, pending)
            return
        tables = (self._trainable_variables[number], self._momentums[number], self._velocities[number])
        last_step, pending = tf.cast(last_step, tables[0].dtype), tf.cast(pending, tables[0].dtype)
        applied = deferred_adam(
            *(tf.gather(table.value, ids) for table in tables),
            last_step=last_step[:, :1],
            steps=pending[:, :1],
            learning_rate=pending[:, 1:2] / pending[:, :1],
            log_decay=pending[:, 2:],
            l2=self.l2 if self._has_l2[number] else 0.0,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
        )
        for table, rows in zip(tables, applied, strict=True):
            table.value.scatter_update(tf.IndexedSlices(rows, ids))

    def _rate(self, step: Any, learning_rate: Any, dtype: Any) -> Any:
        """The learning rate with the bias corrections of m and v."""
        step = tf.cast(step, dtype)
        correction = tf.sqrt(1 - tf.pow(tf.cast(self.beta_2, dtype), step)) / (
            1 - tf.pow(tf.cast(self.beta_1, dtype), step)
        )
        return tf.cast(learning_rate, dtype) * correction

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "moments": self.moments,
            "weight_decay_of": self.weight_decay_of,
            "l2": self.l2,
            "whole_up_to": self.whole_up_to,
        }


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
