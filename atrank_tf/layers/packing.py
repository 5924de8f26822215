"""Padded values -> the real ones alone, and back."""

from typing import Any, Self

import tensorflow as tf


class Packing:
    """Where M rows stand in a padded tensor.

    What is done to each row by itself then costs what is real, and not the padding. Both ways are a gather, and so are
    their gradients: a gather costs two thirds of a scatter.

    Args:
        places: int64 [M], all different: where each row stands, counted through the whole of `shape`.
        shape: int32 [R], the padded dimensions, R known.
    """

    def __init__(self, places: Any, shape: Any) -> None:
        self.places = places
        self._shape = shape
        number = tf.range(1, tf.size(places) + 1)
        # Which row stands in each place, from 1; 0 where none does.
        self._rows = tf.scatter_nd(places[:, tf.newaxis], number, tf.reduce_prod(tf.cast(shape, tf.int64))[tf.newaxis])

    @classmethod
    def of(cls, mask: Any) -> Self:
        """Returns the packing of what is True in a mask, bool of any shape."""
        return cls(tf.where(tf.reshape(mask, [-1]))[:, 0], tf.shape(mask))

    def pack(self, values: Any) -> Any:
        """[*shape, ...] -> [M, ...]."""
        inner = values.shape[self._shape.shape[0] :]
        return _gather(tf.reshape(values, [-1, *inner]), self.places, self._rows)

    def unpack(self, rows: Any) -> Any:
        """[M, ...] -> [*shape, ...], 0 where no row stands."""
        values = _gather_or_zero(rows, self._rows, self.places)
        return tf.reshape(values, tf.concat([self._shape, rows.shape[1:]], axis=0))


class Everything:
    """A packing that leaves nothing out: both ways are a reshape.

    Args:
        shape: int32 [R], the padded dimensions, R known.
    """

    def __init__(self, shape: Any) -> None:
        self._shape = shape

    def pack(self, values: Any) -> Any:
        """[*shape, ...] -> [M, ...]."""
        return tf.reshape(values, [-1, *values.shape[self._shape.shape[0] :]])

    def unpack(self, rows: Any) -> Any:
        """[M, ...] -> [*shape, ...]."""
        return tf.reshape(rows, tf.concat([self._shape, rows.shape[1:]], axis=0))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _gather(values: Any, places: Any, rows: Any) -> Any:
    def gradient(upstream: Any) -> tuple[Any, None, None]:
        return _gather_or_zero(upstream, rows, places), None, None

    return tf.gather(values, places), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _gather_or_zero(values: Any, rows: Any, places: Any) -> Any:
    def gradient(upstream: Any) -> tuple[Any, None, None]:
        return _gather(upstream, places, rows), None, None

    return tf.gather(tf.pad(values, [[1, 0]] + [[0, 0]] * (values.shape.rank - 1)), rows), gradient
