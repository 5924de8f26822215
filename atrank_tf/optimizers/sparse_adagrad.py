"""Adagrad for embedding tables."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.optimizers.sparse_optimizer import SparseOptimizer, checked_rate


@keras.saving.register_keras_serializable(package="atrank_tf")
class SparseAdagrad(SparseOptimizer):
    """Adagrad that updates only the rows of tables that a batch reads; the decay of all other rows is deferred.

    A table is the weight of a `SparseEmbedding`; its rows outside the batch, and their accumulators, stay as they are.
    A zero gradient moves nothing in Adagrad, so all numbers are those of `keras.optimizers.Adagrad`, for tables too, if
    there is one accumulator per element.

    `weight_decay` is decoupled: w <- w (1 - learning_rate * weight_decay) in each step, for every row, deferred
    until a row is read next. It needs `ApplyPendingDecay`: see `SparseAdam`.

    Args:
        learning_rate: float, schedule or callable.
        initial_accumulator_value, epsilon: as in `keras.optimizers.Adagrad`.
        accumulators: "element", as in Keras; or "row", one for each row of a table, of the mean squared gradient of
            its elements: 1/D of the memory.
        weight_decay: decoupled decay.
        kwargs: as for `SparseAdam`.

    Reference:
        Adagrad (Duchi et al., 2011); one accumulator per row: DLRM's row-wise Adagrad (arXiv 1906.00091).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *,
        accumulators: str = "element",
        weight_decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        checked_rate("weight_decay", weight_decay)
        if accumulators not in ("element", "row"):
            raise ValueError(f'Expected accumulators="element" or "row". Received: accumulators={accumulators!r}.')
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, defers=bool(weight_decay), **kwargs)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon
        self.accumulators = accumulators

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        initializer = keras.initializers.Constant(self.initial_accumulator_value)
        self._accumulators = [
            self.add_slot(
                variable,
                (variable.shape[0], 1) if row_wise and self.accumulators == "row" else variable.shape,
                "accumulator",
                initializer=initializer,
                dtype=variable.dtype,
            )
            for variable, row_wise in zip(variables, self._row_wise, strict=True)
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        number = self._get_variable_index(variable)
        accumulators = self._accumulators[number].value
        rate = tf.cast(learning_rate, variable.dtype)
        if not isinstance(gradient, tf.IndexedSlices):
            gradient = tf.cast(gradient, variable.dtype)
            self.assign_add(accumulators, tf.square(gradient))
            self.assign_sub(variable, rate * gradient / tf.sqrt(accumulators + self.epsilon))
            return
        ids, values = gradient.indices, tf.cast(gradient.values, variable.dtype)
        square = tf.square(values)
        if self.accumulators == "row":
            square = tf.reduce_mean(square, axis=-1, keepdims=True)
        accumulator = tf.gather(accumulators, ids) + square
        weight = tf.gather(variable, ids) * tf.cast(self.decay_factor(number), variable.dtype)
        weight -= rate * values / tf.sqrt(accumulator + self.epsilon)
        accumulators.scatter_update(tf.IndexedSlices(accumulator, ids))
        variable.scatter_update(tf.IndexedSlices(weight, ids))
        self.mark_applied(number, ids)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
            "accumulators": self.accumulators,
        }
