"""What SparseAdam and SparseAdagrad share: which variables are tables, and how decay reaches rows that nobody reads."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from atrank_tf.training.workers import ALONE, Workers

_SETTLED_AT_ONCE = 1 << 14
"""Rows per piece when a whole table is settled: bounds the memory it takes, and keeps a piece in the cache."""


class SparseOptimizer(keras.optimizers.Optimizer):
    """An optimizer whose step touches, of each table, the rows of the batch only.

    A table is the weight of a `SparseEmbedding`. All other variables are treated as in Keras.

    Gradients of the same row are summed before anything else, so clipping sees the norm of the dense gradient.

    Time: `clock` counts steps and sums what decay needs (learning rates, logarithms of decay factors); each row of a
    table carries the clock's reading at its last settlement. What is between the two is what the row is behind.

    Several workers: each gives the gradient of its own batch; the step takes the mean of all. A row that any of them
    read is in it, so all settle the same rows by the end of the step.

    A subclass has `update_step`.
    """

    def __init__(self, *, settles: bool, workers: Workers = ALONE, **kwargs: Any) -> None:
        for name in ("use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
            if kwargs.get(name):
                raise ValueError(
                    f"{type(self).__name__} has no {name}: it would touch every row of every table in each step. "
                    f"Received: {name}={kwargs[name]}."
                )
        super().__init__(**kwargs)
        self.settles = settles
        self.workers = workers

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the optimizer's variables, and leaves the function that settles rows on each table.

        Raises:
            RuntimeError: called while a step is traced, with decay: the lookups traced before would never settle.
        """
        if self.built:
            return
        tables = [variable for variable in variables if hasattr(variable, "settle")]
        if self.settles and tables and not tf.executing_eagerly():
            raise RuntimeError(
                f"{type(self).__name__} with decay must be built before the first training step. Add "
                "callbacks=[SettleTables()] to fit, or call optimizer.build(model.trainable_variables) before."
            )
        for table in tables:
            if table.settle is not None:
                table.settle()  # What is behind by the clock of the optimizer that had the table before.
                table.settle = None
        super().build(variables)
        self._is_table = [hasattr(variable, "settle") for variable in variables]
        self._decays = [self._use_weight_decay(each) and getattr(each, "decays", True) for each in variables]
        self._clock: Any = self.add_variable((3,), dtype="float64", name="clock") if self.settles else None
        self._stamps: list[Any] = [
            self.add_slot(variable, (variable.shape[0], 3), "stamp", dtype="float64")
            if self.settles and is_table
            else None
            for variable, is_table in zip(variables, self._is_table, strict=True)
        ]
        for number, variable in enumerate(variables):
            if self._stamps[number] is not None:
                variable.settle = _Settle(self, number)

    def add_variable(self, *args: Any, **kwargs: Any) -> Any:
        variable = super().add_variable(*args, **kwargs)
        # Lookups settle within a layer's call, where mixed precision would cast every slot whole when it is read.
        variable._autocast = False
        return variable

    def add_slot(self, variable: Any, shape: Sequence[int], name: str, **kwargs: Any) -> Any:
        """Creates a variable that belongs to one of the model, of another shape but with as many rows."""
        return self.add_variable(shape, name=f"{variable.path.replace('/', '_')}_{name}", **kwargs)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        if not grads:
            return
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        if not self.built and variables:
            with keras.name_scope(self.name):
                self.build(variables)
        self._check_variables_are_known(variables)
        numbers = [self._get_variable_index(variable) for variable in variables]
        prepared = self._by_rows(grads, variables, numbers)
        if self.workers.number > 1:
            prepared = self._by_rows(self.workers.mean_gradients(prepared), variables, numbers)
        for gradient, number in zip(prepared, numbers, strict=True):
            if self._stamps[number] is not None and gradient is not None:
                self.settle_rows(number, gradient.indices)
        if self.settles:
            self._clock.assign_add(self._tick())
        super().apply(prepared, variables)

    def settle(self) -> None:
        """Settles all rows of all tables: afterwards the tables hold what dense decay would have left in them."""
        if self.built:
            for number, stamps in enumerate(self._stamps):
                if stamps is not None:
                    self.settle_table(number)

    def settle_table(self, number: int) -> None:
        """Settles all rows of the variable of this number."""
        rows = int(self._stamps[number].shape[0])
        for start in range(0, rows, _SETTLED_AT_ONCE):
            self.settle_rows(number, tf.range(start, min(start + _SETTLED_AT_ONCE, rows)))

    def settle_rows(self, number: int, ids: Any) -> None:
        """Makes up for the steps that rows of one table are behind.

        Args:
            number: of the variable.
            ids: rows, of any shape; the same row may come twice.
        """
        stamps = self._stamps[number].value
        ids = tf.reshape(ids, (-1,))
        # Rows that stand in every batch, and those that another lookup of this step settled, end here.
        behind = tf.gather(stamps, ids)[:, 0] < self._clock[0]
        tf.cond(tf.reduce_any(behind), lambda: self._settle_rows(number, tf.boolean_mask(ids, behind)), lambda: None)

    def _settle_rows(self, number: int, ids: Any) -> None:
        stamps = self._stamps[number].value
        ids = tf.unique(ids).y
        stamp = tf.gather(stamps, ids)
        decays = float(self._decays[number])
        self.settle_behind(number, ids, stamp, (self._clock - stamp) * tf.constant([1.0, 1.0, decays], tf.float64))
        stamps.scatter_update(tf.IndexedSlices(tf.broadcast_to(self._clock.value, tf.shape(stamp)), ids))

    def settle_behind(self, number: int, ids: Any, since: Any, behind: Any) -> None:
        """Settles rows that are behind: scales them by the decay they missed.

        Args:
            number: of the variable.
            ids: int [U], the rows, each once.
            since: float64 [U, 3], the clock when they were settled last: steps, sum of learning rates, sum of
                log(1 - learning_rate * weight_decay).
            behind: float64 [U, 3], the clock since then.
        """
        table = self._trainable_variables[number].value
        factor = tf.cast(tf.exp(behind[:, 2:]), table.dtype)
        table.scatter_update(tf.IndexedSlices(tf.gather(table, ids) * factor, ids))

    def decay_factor(self, number: int) -> Any:
        """1 - learning_rate * weight_decay of the step in progress, for the rows of a table; 1 without decay."""
        if not (self.weight_decay and self._decays[number]):
            return 1.0
        return 1 - self.learning_rate * self.weight_decay

    def stamp(self, number: int, ids: Any) -> None:
        """Notes that rows have seen the step in progress."""
        if self._stamps[number] is not None:
            now = tf.broadcast_to(self._clock.value, (tf.size(ids), 3))
            self._stamps[number].value.scatter_update(tf.IndexedSlices(now, ids))

    def finalize_variable_values(self, var_list: Any) -> None:
        super().finalize_variable_values(var_list)
        self.settle()  # The end of `fit`.

    def save_own_variables(self, store: Any) -> None:
        self.settle()  # Tables settle when saved, and a file must hold the clock that goes with them.
        super().save_own_variables(store)

    def _by_rows(self, grads: Sequence[Any], variables: Sequence[Any], numbers: Sequence[int]) -> list[Any]:
        return [
            _of_rows(gradient, variable) if self._is_table[number] else _dense(gradient)
            for gradient, variable, number in zip(grads, variables, numbers, strict=True)
        ]

    def _tick(self) -> Any:
        rate = tf.cast(self.learning_rate, tf.float64)
        return tf.stack([tf.ones_like(rate), rate, tf.math.log1p(-rate * (self.weight_decay or 0.0))])

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        values = super()._clip_gradients([g.values if isinstance(g, tf.IndexedSlices) else g for g in grads])
        return [
            tf.IndexedSlices(value, g.indices, g.dense_shape) if isinstance(g, tf.IndexedSlices) else value
            for g, value in zip(grads, values, strict=True)
        ]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        super()._apply_weight_decay([v for v in variables if not self._is_table[self._get_variable_index(v)]])


class _Settle:
    """What a table's lookup calls: settles the rows it is about to read, or all."""

    def __init__(self, optimizer: SparseOptimizer, number: int) -> None:
        self.optimizer = optimizer
        self.number = number
        # A function of its own is traced and optimized once, not for each lookup of the table.
        self._rows = tf.function(
            lambda ids: optimizer.settle_rows(number, ids),
            input_signature=[tf.TensorSpec([None], tf.int64)],
            autograph=False,
            experimental_attributes={"_noinline": True},
        )

    def __call__(self, ids: Any = None) -> None:
        if ids is None:
            self.optimizer.settle_table(self.number)
        else:
            self._rows(tf.cast(tf.reshape(ids, (-1,)), tf.int64))


def _of_rows(gradient: Any, table: Any) -> Any:
    """A gradient as IndexedSlices that have each row once; a dense one has all rows."""
    if gradient is None:
        return None
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient, tf.range(table.shape[0]), tf.shape(gradient))
    ids, place = tf.unique(gradient.indices)
    total = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(ids))
    return tf.IndexedSlices(tf.reshape(total, (-1, *table.shape[1:])), ids, gradient.dense_shape)


def _dense(gradient: Any) -> Any:
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def checked_rate(name: str, value: float | None) -> float | None:
    """Returns a decay, which must not be negative."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be at least 0. Received: {name}={value}.")
    return value
