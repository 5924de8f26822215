"""Packing of a padded tensor, and gathers whose gradients cost little."""

from typing import Self

import tensorflow as tf

from atrank_tf.types import Tensor


class Packing:
    """Packs the M real values of a padded tensor, and unpacks them.

    What is done to each value by itself then costs what is real, and not the padding. Both ways are a gather, and so
    are their gradients: a gather costs two thirds of a scatter.

    Args:
        indices: int64 [M], all different: where each value stands in the padded tensor, flattened.
        shape: int32 [R], the padded dimensions, R known.
    """

    def __init__(self, indices: Tensor, shape: Tensor) -> None:
        self.indices = indices
        self._shape = shape
        number, size = tf.range(1, tf.size(indices) + 1), tf.reduce_prod(tf.cast(shape, tf.int64))
        # Which value stands at each index of the padded tensor, from 1; 0 where none does.
        self._numbers = tf.scatter_nd(indices[:, tf.newaxis], number, size[tf.newaxis])

    @classmethod
    def of(cls, mask: Tensor) -> Self:
        """Returns the packing of what is True in a mask, bool of any shape."""
        return cls(tf.where(tf.reshape(mask, [-1]))[:, 0], tf.shape(mask))

    def pack(self, padded: Tensor) -> Tensor:
        """[*shape, ...] -> [M, ...]."""
        inner = padded.shape[self._shape.shape[0] :]
        return _gather(tf.reshape(padded, [-1, *inner]), self.indices, self._numbers)

    def unpack(self, packed: Tensor) -> Tensor:
        """[M, ...] -> [*shape, ...], 0 at padding."""
        padded = _gather_or_zero(packed, self._numbers, self.indices)
        return tf.reshape(padded, tf.concat([self._shape, packed.shape[1:]], axis=0))


class NoPadding:
    """Packing of a tensor without padding: both ways are a reshape.

    Args:
        shape: int32 [R], the dimensions, R known.
    """

    def __init__(self, shape: Tensor) -> None:
        self._shape = shape

    def pack(self, padded: Tensor) -> Tensor:
        """[*shape, ...] -> [M, ...]."""
        return tf.reshape(padded, [-1, *padded.shape[self._shape.shape[0] :]])

    def unpack(self, packed: Tensor) -> Tensor:
        """[M, ...] -> [*shape, ...]."""
        return tf.reshape(packed, tf.concat([self._shape, packed.shape[1:]], axis=0))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _gather(padded: Tensor, indices: Tensor, numbers: Tensor) -> Tensor:
    def gradient(upstream: Tensor) -> tuple[Tensor, None, None]:
        return _gather_or_zero(upstream, numbers, indices), None, None

    return tf.gather(padded, indices), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _gather_or_zero(packed: Tensor, numbers: Tensor, indices: Tensor) -> Tensor:
    def gradient(upstream: Tensor) -> tuple[Tensor, None, None]:
        return _gather(upstream, indices, numbers), None, None

    return tf.gather(tf.pad(packed, [[1, 0]] + [[0, 0]] * (packed.shape.rank - 1)), numbers), gradient


def take(values: Tensor, indices: Tensor | None) -> Tensor:
    """Returns `values` [U, ...] at `indices` [...], float [..., ...]; without indices, the values as they are."""
    return values if indices is None else _take(values, indices)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _take(values: Tensor, indices: Tensor) -> Tensor:
    def gradient(upstream: Tensor) -> tuple[Tensor, None]:
        flat = tf.reshape(indices, [-1])
        upstream = tf.reshape(upstream, tf.concat([[-1], tf.shape(values)[1:]], axis=0))
        # Summed in the order of the values: a third of the time of tf.gather's own gradient, which scatters.
        order = tf.argsort(flat, stable=True)
        total = tf.sparse.segment_sum(upstream, order, tf.gather(flat, order), num_segments=tf.shape(values)[0])
        return tf.ensure_shape(total, values.shape), None

    return tf.gather(values, indices), gradient
