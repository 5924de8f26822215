"""Vocabulary: looks up the rows of an embedding table by raw values."""

import numpy as np
import polars as pl

from atrank_tf.schema import FIRST_ROW, PADDING, UNKNOWN


class Vocabulary:
    """Looks up rows by values. 0 is padding, 1 is unknown, real values start at 2, the frequent ones first.

    Args:
        values: text [rows - 2], the values of the rows from `FIRST_ROW` on, each once.

    Example:
        >>> Vocabulary(pl.Series(["grocery", "drug"])).lookup(pl.Series(["drug", "toys"]))
        [3, 1]
    """

    def __init__(self, values: pl.Series) -> None:
        self.values = values.cast(pl.String).rename("value")
        numbers = pl.int_range(FIRST_ROW, FIRST_ROW + len(values), dtype=pl.Int64, eager=True)
        self._rows = pl.DataFrame({"value": self.values, "table_row": numbers})

    def __len__(self) -> int:
        """Returns the number of rows of the table, padding and unknown included."""
        return len(self.values) + FIRST_ROW

    def lookup(self, values: pl.Series) -> np.ndarray:
        """Returns the row of each value, int64 [N]; `UNKNOWN` for a null or a value that is not in the vocabulary."""
        asked = values.cast(pl.String).rename("value").to_frame()
        found = asked.join(self._rows, on="value", how="left", maintain_order="left")
        return found["table_row"].fill_null(UNKNOWN).to_numpy()

    def lookup_lists(self, lists: pl.Series, width: int) -> np.ndarray:
        """Returns the rows of lists of values, int64 [N, width].

        Padded on the right with `PADDING`; an empty list is one `UNKNOWN`, values beyond `width` are cut.
        """
        lists = lists.list.head(width)
        lengths = lists.list.len().to_numpy().astype(np.int64)
        rows = np.full((len(lists), width), PADDING, np.int64)
        rows[lengths == 0, 0] = UNKNOWN
        flat = self.lookup(lists.filter(pl.Series(lengths > 0)).explode())
        starts = np.cumsum(lengths) - lengths
        owner = np.repeat(np.arange(len(lists)), lengths)
        rows[owner, np.arange(len(flat)) - starts[owner]] = flat
        return rows
