"""Base of optimizers whose step costs what the batch reads of tables, with decay that reaches every row."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

_ROWS_AT_ONCE = 1 << 14
"""Rows per piece when decay is applied to a whole table: bounds the memory it takes, and keeps a piece in the cache."""
Gradients = Sequence[Any]
"""For each variable a tensor, `tf.IndexedSlices` of rows, or None."""


class SparseOptimizer(keras.optimizers.Optimizer):
    """An optimizer whose step touches, of each large table, only the rows that the batch has read.

    A table is a variable with an attribute `apply_pending`, as the weight of a `SparseEmbedding` has. All other
    variables are treated as in Keras. Gradients of the same row are summed before anything else, so clipping sees the
    norm of the dense gradient.

    Deferred decay: `clock` counts steps and sums what decay needs (learning rates, logarithms of decay factors); each
    row of a table keeps the clock's reading at its last step. What lies between the two is pending: it is applied to a
    row before a lookup of training reads it, and to all rows by `apply_pending`.

    What a layer and an optimizer must agree on, both attributes of the variable:

    - `apply_pending`: None, until an optimizer that defers decay is built; then a function (ids, of any shape) that
      applies pending decay to these rows, without ids to all. A layer calls it before it gathers rows in training.
    - `decays`: whether decay reaches the table; without it, it does.

    A subclass has `update_step` of Keras, which decays the rows of tables itself, and `take_deferred_steps`.

    Args:
        defers: whether there is anything to defer.
        whole_up_to: tables of at most so many numbers are updated whole in each step, as other variables are, and have
            nothing pending: of a few rows that costs less than to tell read ones from others.
        reduce_gradients: for several processes that train one model, a function (gradients of this process) -> their
            mean over all of them; None for one process. `tf.IndexedSlices` come with each row once, and may be returned
            with a row several times. It is not part of the config.
        kwargs: of `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        *,
        defers: bool,
        whole_up_to: int = 0,
        reduce_gradients: Callable[[Gradients], Gradients] | None = None,
        **kwargs: Any,
    ) -> None:
        for name in ("use_ema", "gradient_accumulation_steps", "loss_scale_factor"):
            if kwargs.get(name):
                raise ValueError(
                    f"{type(self).__name__} has no {name}: it would touch every row of every table in each step. "
                    f"Received: {name}={kwargs[name]}."
                )
        super().__init__(**kwargs)
        self.defers = defers
        self.whole_up_to = whole_up_to
        self.reduce_gradients = reduce_gradients

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the optimizer's variables, and leaves on each table the function that applies pending decay.

        Raises:
            RuntimeError: called while a step is traced, with decay: the lookups traced before would never apply it.
        """
        if self.built:
            return
        tables = [variable for variable in variables if hasattr(variable, "apply_pending")]
        if self.defers and tables and not tf.executing_eagerly():
            raise RuntimeError(
                f"{type(self).__name__} with decay must be built before the first training step. Add "
                "callbacks=[ApplyPendingDecay()] to fit, or call optimizer.build(model.trainable_variables) before."
            )
        for table in tables:
            if table.apply_pending is not None:
                table.apply_pending()  # What is pending by the clock of the optimizer that had the table before.
                table.apply_pending = None
        super().build(variables)
        self._row_wise = [
            hasattr(variable, "apply_pending") and math.prod(variable.shape) > self.whole_up_to
            for variable in variables
        ]
        self._decays = [self._use_weight_decay(each) and getattr(each, "decays", True) for each in variables]
        self._clock: Any = self.add_variable((3,), dtype="float64", name="clock") if self.defers else None
        self._last_steps: list[Any] = [
            self.add_slot(variable, (variable.shape[0], 3), "last_step", dtype="float64")
            if self.defers and row_wise
            else None
            for variable, row_wise in zip(variables, self._row_wise, strict=True)
        ]
        for number, variable in enumerate(variables):
            if self._last_steps[number] is not None:
                variable.apply_pending = _ApplyPending(self, number)

    def add_variable(self, *args: Any, **kwargs: Any) -> Any:
        variable = super().add_variable(*args, **kwargs)
        # Lookups apply decay within a layer's call, where mixed precision would cast every slot whole when it is read.
        variable._autocast = False
        return variable

    def add_slot(self, variable: Any, shape: Sequence[int], name: str, **kwargs: Any) -> Any:
        """Creates a variable that belongs to one of the model, of another shape but with as many rows."""
        return self.add_variable(shape, name=f"{variable.path.replace('/', '_')}_{name}", **kwargs)

    def apply(self, grads: Gradients, trainable_variables: Sequence[Any] | None = None) -> None:
        if not grads:
            return
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        if not self.built and variables:
            with keras.name_scope(self.name):
                self.build(variables)
        self._check_variables_are_known(variables)
        numbers = [self._get_variable_index(variable) for variable in variables]
        prepared = self._by_rows(grads, variables, numbers)
        if self.reduce_gradients is not None:
            prepared = self._by_rows(self.reduce_gradients(prepared), variables, numbers)
        for gradient, number in zip(prepared, numbers, strict=True):
            if self._last_steps[number] is not None and gradient is not None:
                self.apply_pending_to_rows(number, gradient.indices)
        if self.defers:
            self._clock.assign_add(self._tick())
        super().apply(prepared, variables)

    def apply_pending(self) -> None:
        """Applies pending decay to all tables: afterwards they hold what dense decay would have left in them."""
        if self.built:
            for number, last_steps in enumerate(self._last_steps):
                if last_steps is not None:
                    self.apply_pending_to_table(number)

    def apply_pending_to_table(self, number: int) -> None:
        """Applies pending decay to all rows of the variable of this number."""
        rows = int(self._last_steps[number].shape[0])
        for start in range(0, rows, _ROWS_AT_ONCE):
            self.apply_pending_to_rows(number, tf.range(start, min(start + _ROWS_AT_ONCE, rows)))

    def apply_pending_to_rows(self, number: int, ids: Any) -> None:
        """Applies pending decay to rows of one table.

        Args:
            number: of the variable.
            ids: rows, of any shape; the same row may come twice.
        """
        ids = tf.reshape(ids, (-1,))
        # Rows that stand in every batch, and those that another lookup of this step has seen to, end here.
        is_pending = tf.gather(self._last_steps[number].value, ids)[:, 0] < self._clock[0]
        tf.cond(tf.reduce_any(is_pending), lambda: self._apply(number, tf.boolean_mask(ids, is_pending)), lambda: None)

    def _apply(self, number: int, ids: Any) -> None:
        ids = tf.unique(ids).y
        last_step = tf.gather(self._last_steps[number].value, ids)
        decays = float(self._decays[number])
        pending = (self._clock - last_step) * tf.constant([1.0, 1.0, decays], tf.float64)
        self.take_deferred_steps(number, ids, last_step, pending)
        self.mark_applied(number, ids)

    def take_deferred_steps(self, number: int, ids: Any, last_step: Any, pending: Any) -> None:
        """Takes rows through the steps in which no batch read them: here, scales them by the decay they missed.

        Args:
            number: of the variable.
            ids: int [U], the rows, each once.
            last_step: float64 [U, 3], the clock at the last step of each row: steps, sum of learning rates, sum of
                log(1 - learning_rate * weight_decay).
            pending: float64 [U, 3], the clock since then.
        """
        table = self._trainable_variables[number].value
        factor = tf.cast(tf.exp(pending[:, 2:]), table.dtype)
        table.scatter_update(tf.IndexedSlices(tf.gather(table, ids) * factor, ids))

    def decay_factor(self, number: int) -> Any:
        """1 - learning_rate * weight_decay of the step in progress, for the rows of a table; 1 without decay."""
        if not (self.weight_decay and self._decays[number]):
            return 1.0
        return 1 - self.learning_rate * self.weight_decay

    def mark_applied(self, number: int, ids: Any) -> None:
        """Notes that nothing is pending for rows, int [U]: they have seen all steps up to the clock's."""
        if self._last_steps[number] is not None:
            now = tf.broadcast_to(self._clock.value, (tf.size(ids), 3))
            self._last_steps[number].value.scatter_update(tf.IndexedSlices(now, ids))

    def finalize_variable_values(self, var_list: Any) -> None:
        super().finalize_variable_values(var_list)
        self.apply_pending()  # The end of `fit`.

    def save_own_variables(self, store: Any) -> None:
        self.apply_pending()  # Tables apply it when saved, and a file must hold the clock that goes with them.
        super().save_own_variables(store)

    def _by_rows(self, grads: Gradients, variables: Sequence[Any], numbers: Sequence[int]) -> list[Any]:
        return [
            _of_rows(gradient, variable) if self._row_wise[number] else _dense(gradient)
            for gradient, variable, number in zip(grads, variables, numbers, strict=True)
        ]

    def _tick(self) -> Any:
        rate = tf.cast(self.learning_rate, tf.float64)
        return tf.stack([tf.ones_like(rate), rate, tf.math.log1p(-rate * (self.weight_decay or 0.0))])

    def _clip_gradients(self, grads: Gradients) -> list[Any]:
        values = super()._clip_gradients([g.values if isinstance(g, tf.IndexedSlices) else g for g in grads])
        return [
            tf.IndexedSlices(value, g.indices, g.dense_shape) if isinstance(g, tf.IndexedSlices) else value
            for g, value in zip(grads, values, strict=True)
        ]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        super()._apply_weight_decay([variable for variable in variables if not hasattr(variable, "apply_pending")])


class _ApplyPending:
    """`apply_pending` of one table: applies pending decay to the rows that a lookup is about to read, or to all."""

    def __init__(self, optimizer: SparseOptimizer, number: int) -> None:
        self.optimizer = optimizer
        self.number = number
        # A function of its own is traced and optimized once, not for each lookup of the table.
        self._rows = tf.function(
            lambda ids: optimizer.apply_pending_to_rows(number, ids),
            input_signature=[tf.TensorSpec([None], tf.int64)],
            autograph=False,
            experimental_attributes={"_noinline": True},
        )

    def __call__(self, ids: Any = None) -> None:
        if ids is None:
            self.optimizer.apply_pending_to_table(self.number)
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
