"""Adam for embedding tables."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.optimizers.deferred_adam import deferred_adam
from atrank_tf.optimizers.sparse_optimizer import SparseOptimizer, checked_rate


@keras.saving.register_keras_serializable(package="atrank_tf")
class SparseAdam(SparseOptimizer):
    """Adam whose step costs what the batch reads of the tables, with decay that reaches every row all the same.

    A table is the weight of a `SparseEmbedding`; its rows outside the batch, and their slots, stay as they are. Every
    other variable is treated exactly as by `keras.optimizers.Adam`. What happens to a row in the steps in which no
    batch reads it is told by `moments`:

    - "lazy": nothing. m and v advance when the row is in a batch, and the bias correction counts those times, not the
      steps of the training: m and v average over the gradients that the row has had. (Counting steps instead would
      take the first ten updates of a rare row to be full averages, and make them 3 to 6 times too long.)
    - "dense": what dense Adam would do: m and v fade, the weight drifts, the L2 penalty goes on pulling. It is deferred
      until the row is read next, and then taken in a few strides before its value is used: see `deferred_adam`.
      Learning rates tuned for `keras.optimizers.Adam` stay right.

    Two kinds of decay, which reach all rows of all tables, read or not:

    - `weight_decay`, decoupled (AdamW): w <- w (1 - learning_rate * weight_decay) in each step. Exact. Other variables
      have it too, as in Keras.
    - `l2`: the penalty l2 * sum(w^2) of `keras.regularizers.L2`, whose gradient 2 * l2 * w goes through m and v; so it
      is strong on rare rows, whose v is small. Tables only; other variables have regularizers. It is added after
      clipping. Needs moments="dense".

    Against dense Adam with the same penalty (Zipf-distributed ids, 2,000 steps, gradients of 1e-4 to 1e-2, rates 1e-3
    and 1e-2, l2 4e-4), the rows that lookups read differ by 0.5% to 2.3% of their norm, the final table by 0.2% to
    1.5%: `tests/optimizers/test_sparse_adam.py` holds it.

    With decay or moments="dense", build the optimizer before the first step, and apply pending decay before anybody
    else reads the tables: `fit(callbacks=[ApplyPendingDecay()])` does both. `exclude_from_weight_decay` excludes from
    both decays.

    Args:
        learning_rate: float, schedule or callable.
        beta_1, beta_2, epsilon: as in `keras.optimizers.Adam`.
        moments: "lazy" or "dense"; by default "dense" if there is an `l2`, else "lazy".
        weight_decay: decoupled decay.
        l2: weight of the penalty.
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
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        checked_rate("weight_decay", weight_decay)
        checked_rate("l2", l2)
        moments = moments or ("dense" if l2 else "lazy")
        if moments not in ("lazy", "dense"):
            raise ValueError(f'Expected moments="lazy" or "dense". Received: moments={moments!r}.')
        if l2 and moments != "dense":
            raise ValueError(
                f'l2 goes through the moments of rows that no batch reads: it needs moments="dense". Received: '
                f"moments={moments!r}, l2={l2}."
            )
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            defers=bool(weight_decay) or moments == "dense",
            **kwargs,
        )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.moments = moments
        self.l2 = l2

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self._updates: list[Any] = [
            self.add_slot(variable, (variable.shape[0],), "updates", dtype="int32")
            if is_table and self.moments == "lazy"
            else None
            for variable, is_table in zip(variables, self._is_table, strict=True)
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        number = self._get_variable_index(variable)
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(number, gradient.values, gradient.indices, variable, learning_rate)
            return
        momentum, velocity = self._momentums[number], self._velocities[number]
        gradient = tf.cast(gradient, variable.dtype)
        rate = self._rate(self.iterations + 1, learning_rate, variable.dtype)
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (tf.square(gradient) - velocity) * (1 - self.beta_2))
        self.assign_sub(variable, momentum * rate / (tf.sqrt(velocity) + self.epsilon))

    def _update_rows(self, number: int, gradient: Any, ids: Any, variable: Any, learning_rate: Any) -> None:
        momentums, velocities = self._momentums[number].value, self._velocities[number].value
        weight, momentum, velocity = (tf.gather(table, ids) for table in (variable, momentums, velocities))
        gradient = tf.cast(gradient, variable.dtype)
        if self.l2 and self._decays[number]:
            gradient += 2 * self.l2 * weight
        if self.moments == "lazy":
            updates = self._updates[number].value
            count = tf.gather(updates, ids) + 1
            updates.scatter_update(tf.IndexedSlices(count, ids))
            rate = self._rate(count[:, None], learning_rate, variable.dtype)
        else:
            rate = self._rate(self.iterations + 1, learning_rate, variable.dtype)
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
            l2=self.l2 if self._decays[number] else 0.0,
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
            "l2": self.l2,
        }
