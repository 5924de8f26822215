"""Codes: what stands for a value of a table with `hash`, in records and in requests, instead of a row.

The same operation computes them in prepare and in the graph of an export: FarmHash's fingerprint, which is the same on
every machine and in every release.
"""

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.schema import FIRST_ROW, UNKNOWN
from atrank_tf.types import Tensor

_CODES = 2**31 - FIRST_ROW
"""So many that of ten million values two in a thousand share a code; and int32 holds them."""


def codes(values: Tensor) -> Tensor:
    """Returns the code of each text, int64 from `FIRST_ROW` on; an empty one is `UNKNOWN`."""
    found = tf.strings.to_hash_bucket_fast(values, _CODES) + FIRST_ROW
    return tf.where(values == "", tf.constant(UNKNOWN, tf.int64), found)


class Codes(Vocabulary):
    """Looks codes up as a `Vocabulary` looks rows up, and knows no values.

    Args:
        rows: rows of the table, padding and unknown included.
    """

    def __init__(self, rows: int) -> None:
        super().__init__(pl.Series(dtype=pl.String))
        self._number = rows

    def __len__(self) -> int:
        return self._number

    def lookup(self, values: pl.Series) -> np.ndarray:
        texts = values.cast(pl.String).fill_null("")
        return np.asarray(codes(tf.constant(texts.to_list(), tf.string, [len(texts)])))
