"""Rows of a table of bounded size for codes of a large space."""

from typing import Any

import keras
from keras import ops

from atrank_tf.types import Tensor

_MULTIPLIERS = (1_640_531_527, 1_181_783_497, 1_540_483_477, 1_103_515_245)
"""Of one hash after the other, odd and below 2^31: products with codes stay whole numbers of 63 bits."""
_LAST_MULTIPLIER = 1_640_531_527
_HALF = 31
"""Bits of a code: a product's upper half, in which all bits of the code are mixed, goes over its lower one."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class HashedRows(keras.layers.Layer):
    """Finds the rows that a code has in a table with fewer rows than there are codes.

    A code has one row for each hash, and its embedding is their sum. Two codes that share one of their rows seldom
    share the others, so the sums differ: several hashes tell more codes apart in a table of the same size.

    Rough sketch:
        found(code) = [first + hash_1(code) mod R, first + hash_2(code) mod R, ...]

    Args:
        num_rows: R, rows that codes share.
        num_hashes: H, rows of a code, 1 to 5.
        first: the smallest code, and the first row of the R. Whole numbers below it (padding, unknown) are rows of
            their own, H times.

    Call arguments:
        codes: int64 [...], below 2^31.

    Returns:
        int64 [..., H], in 0..first+R-1.

    Raises:
        ValueError: `num_rows` or `num_hashes` is out of range.

    Reference:
        Svenstrup, Hansen and Winther, "Hash Embeddings for Efficient Word Representations" (NeurIPS 2017, arXiv
        1709.03933), without its learned weight for each id, which would grow with the ids.
    """

    def __init__(self, num_rows: int, num_hashes: int, first: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_rows <= 0:
            raise ValueError(f"num_rows must be positive. Received: num_rows={num_rows}.")
        if not 0 < num_hashes <= len(_MULTIPLIERS) + 1:
            raise ValueError(f"num_hashes must be 1 to {len(_MULTIPLIERS) + 1}. Received: num_hashes={num_hashes}.")
        self.num_rows = num_rows
        self.num_hashes = num_hashes
        self.first = first

    def call(self, codes: Tensor) -> Tensor:
        value = ops.cast(codes, "int64") - self.first
        hashes = [value]  # A code is a hash already.
        for multiplier in _MULTIPLIERS[: self.num_hashes - 1]:
            hashes.append(_folded(_folded(value * multiplier) * _LAST_MULTIPLIER))
        rows = ops.stack(hashes, axis=-1) % self.num_rows + self.first
        codes = ops.expand_dims(ops.cast(codes, "int64"), -1)
        return ops.where(codes >= self.first, rows, codes)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_rows": self.num_rows,
            "num_hashes": self.num_hashes,
            "first": self.first,
        }


def _folded(product: Tensor) -> Tensor:
    return ops.bitwise_xor(ops.right_shift(product, _HALF), product % 2**_HALF)
