"""The rows of a table, each on one of the workers."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
import tensorflow as tf

from atrank_tf.layers import take
from atrank_tf.layers.embedding.divided_tables import dividing
from atrank_tf.training.workers import ROWS_AT_ONCE, Workers, room_for


class DividedRows:
    """Who holds which rows of one variable: row r is on worker r mod n, as its row r div n.

    It stands on the variable as `divided`: on the weight of a `SparseEmbedding`, and on each slot of an optimizer that
    has a row for each of its rows. What the variable itself holds are the rows of this worker.

    `lookup`, `collect` and `spread` are called by all workers, in the same order, or they wait for each other for ever.

    Args:
        rows: how many, of all workers.
        workers: who share them.

    Attributes:
        held: ceil(rows / workers), how many rows the variable has on each worker; the last may be no row of the table.
        whole: the values of all rows, [rows, ...], on the chief while it writes or has read them; else None.
    """

    def __init__(self, rows: int, workers: Workers) -> None:
        self.rows = rows
        self.workers = workers
        self.held = -(-rows // workers.number)
        self.whole: np.ndarray | None = None

    def of_slot(self) -> Self:
        """Returns the same for another variable of the same rows."""
        return type(self)(self.rows, self.workers)

    def lookup(self, ids: Any, read: Callable[[Any], Any]) -> Any:
        """Returns rows of all workers; their gradients go to who holds them.

        Rough sketch: each id once, in the part of the message that goes to its owner; owners read what they are asked;
        the answers come back in the places of the questions. Parts are padded to one length, that of the longest part
        of any worker, so one message of one number comes first.

        Glossary: n workers, U different ids, L places in a part, K rows that this worker is asked for.

        Args:
            ids: int32 or int64, of any shape.
            read: a function (own rows int [K]) -> their values, float32 [K, D].

        Returns:
            float32 [..., D].

        Raises:
            RuntimeError: the chief looks rows up between two epochs, when the others do not answer.
        """
        if self.whole is not None:
            raise RuntimeError(
                "Expected a lookup in a step of all workers. Received: one at the end of an epoch, on the chief alone. "
                "Callbacks, as train --explain has, cannot call a model whose tables are divided: set divide_tables_of "
                "= 0 in [training], or train with one process."
            )
        number = self.workers.number
        different, place = tf.unique(tf.reshape(ids, [-1]))  # [U]
        owner = tf.cast(different % number, tf.int32)
        counts = tf.math.bincount(owner, minlength=number, maxlength=number)
        room = room_for(self.workers.max(tf.reduce_max(counts)))  # L
        by_owner = tf.argsort(owner, stable=True)
        sorted_owner = tf.gather(owner, by_owner)
        skipped = tf.gather(tf.range(number) * room - tf.cumsum(counts, exclusive=True), sorted_owner)
        slot = tf.scatter_nd(by_owner[:, tf.newaxis], tf.range(tf.size(owner)) + skipped, tf.shape(owner))  # [U]
        own = tf.cast(different // number, tf.int32)
        asked = tf.scatter_nd(slot[:, tf.newaxis], own + 1, [number * room]) - 1  # -1 is nothing.
        asked = tf.reshape(self.workers.exchange(tf.reshape(asked, (number, room))), [-1])
        there = tf.where(asked >= 0)  # [K, 1]
        rows = read(tf.gather_nd(asked, there))
        width = rows.shape[-1]
        answers = tf.scatter_nd(there, rows, tf.cast([number * room, width], there.dtype))
        found = self.workers.exchange(tf.reshape(answers, (number, room, width)))
        found = take(tf.reshape(found, (-1, width)), tf.gather(slot, place))
        return tf.reshape(found, tf.concat([tf.shape(ids), [width]], axis=0))

    def values(self) -> np.ndarray:
        """Returns the values of all rows, on the chief.

        Raises:
            RuntimeError: they are not together.
        """
        if self.whole is None:
            raise RuntimeError(
                "Expected the rows of all workers together, as the chief has them at the end of an epoch. Found the "
                "rows of one worker: a model whose tables are divided cannot be saved within an epoch."
            )
        return self.whole

    def collect(self, variable: Any) -> None:
        """Puts the rows of all workers together on the chief, in its host's memory."""
        number, chief = self.workers.number, self.workers.is_chief
        whole = np.empty((self.held * number, *variable.shape[1:]), variable.dtype) if chief else None
        for start, stop in self._pieces():
            own = tf.gather(variable.value, tf.range(start, stop))  # [k, ...]
            every = tf.bitcast(self.workers.gather(tf.bitcast(own, tf.int32)), own.dtype)  # [n, k, ...]
            if whole is not None:
                whole[start * number : stop * number] = np.swapaxes(every, 0, 1).reshape(-1, *whole.shape[1:])
        self.whole = None if whole is None else whole[: self.rows]

    def spread(self, variable: Any, whole: Any) -> None:
        """Gives each worker its rows.

        Args:
            variable: what takes them.
            whole: the values of all rows, [rows, ...]; those of the chief count.
        """
        number = self.workers.number
        for start, stop in self._pieces():
            piece = np.zeros(((stop - start) * number, *variable.shape[1:]), variable.dtype)
            if whole is not None and self.workers.is_chief:
                found = whole[start * number : stop * number]
                piece[: len(found)] = found
            piece = np.asarray(self.workers.of_chief(tf.constant(piece)))
            rows = piece[self.workers.place :: number]
            variable.value.scatter_update(tf.IndexedSlices(rows, tf.range(start, stop)))

    def _pieces(self) -> list[tuple[int, int]]:
        """Returns the first of each piece of a worker's rows, and the one after the last."""
        step = max(1, ROWS_AT_ONCE // self.workers.number)
        return [(start, min(start + step, self.held)) for start in range(0, self.held, step)]


def divided_among(workers: Workers, *, least_rows: int) -> AbstractContextManager[None]:
    """Divides the rows of the tables that are made within the block among several workers.

    Args:
        workers: all of them, each making the same tables in the same order.
        least_rows: tables of at least so many rows are divided; 0 for none.
    """
    return dividing(lambda rows: DividedRows(rows, workers) if workers.number > 1 and 0 < least_rows <= rows else None)


def hold_beside(slot: Any, variable: Any) -> Any:
    """Marks a variable that has a row for each row of another one as divided in the same way; returns it."""
    divided: DividedRows | None = getattr(variable, "divided", None)
    if divided is not None:
        slot.divided = divided.of_slot()
    return slot


def whole_values(variable: Any) -> np.ndarray:
    """Returns the value of a variable; on the chief, with the rows of all workers."""
    divided: DividedRows | None = getattr(variable, "divided", None)
    return variable.numpy() if divided is None else divided.values()


def assign_whole(variable: Any, value: np.ndarray) -> None:
    """Sets a variable; on the chief, with the rows of all workers: `WholeTables` gives each its own."""
    if getattr(variable, "divided", None) is None:
        variable.assign(value)
    else:
        variable.divided.whole = value


def whole_shape(variable: Any) -> tuple[int, ...]:
    """Returns the shape of a variable, with the rows of all workers."""
    divided: DividedRows | None = getattr(variable, "divided", None)
    return tuple(variable.shape) if divided is None else (divided.rows, *variable.shape[1:])
