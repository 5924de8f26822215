"""Vocabularies: values -> rows of a table. 0 is padding, 1 is unknown, real values start at 2, the frequent ones first.

What a value's count is, for `min_count` and for the order. A table is shared, so the counts of all its uses are added:

- an id of the table: behaviors with the object, and requests that show it;
- a side feature: the same of every object that has the value, and 1 for each such object of the catalog, so that
  `min_count = 1` keeps what only the catalog knows;
- a feature of the user: users that have the value;
- a feature of the context: shown candidates that have it.

Of behaviors and requests only those before `validation_from` count where the split is by time. Shown candidates count
because a table that kept only what was acted on would tell, by its unknown row, what was never chosen.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from atrank_tf.schema import FIRST_ROW, PADDING, UNKNOWN


class Vocabulary:
    """Looks up the rows of values.

    Args:
        values: text [rows - 2], the values of the rows from `FIRST_ROW` on, each once.

    Example:
        >>> Vocabulary(pl.Series(["grocery", "drug"])).rows_of(pl.Series(["drug", "toys"]))
        [3, 1]
    """

    def __init__(self, values: pl.Series) -> None:
        self.values = values.cast(pl.String).rename("value")
        numbers = pl.int_range(FIRST_ROW, FIRST_ROW + len(values), dtype=pl.Int64, eager=True)
        self._rows = pl.DataFrame({"value": self.values, "table_row": numbers})

    def __len__(self) -> int:
        """Returns the number of rows of the table, padding and unknown included."""
        return len(self.values) + FIRST_ROW

    def rows_of(self, values: pl.Series) -> np.ndarray:
        """Returns the row of each value, int64 [N]; `UNKNOWN` for a null or a value that is not in the vocabulary."""
        asked = values.cast(pl.String).rename("value").to_frame()
        found = asked.join(self._rows, on="value", how="left", maintain_order="left")
        return found["table_row"].fill_null(UNKNOWN).to_numpy()

    def rows_of_lists(self, lists: pl.Series, width: int) -> np.ndarray:
        """Returns the rows of lists of values, int64 [N, width].

        Padded on the right with `PADDING`; an empty list is one `UNKNOWN`, values beyond `width` are cut.
        """
        lists = lists.list.head(width)
        lengths = lists.list.len().to_numpy().astype(np.int64)
        rows = np.full((len(lists), width), PADDING, np.int64)
        rows[lengths == 0, 0] = UNKNOWN
        flat = self.rows_of(lists.filter(pl.Series(lengths > 0)).explode())
        starts = np.cumsum(lengths) - lengths
        owner = np.repeat(np.arange(len(lists)), lengths)
        rows[owner, np.arange(len(flat)) - starts[owner]] = flat
        return rows


def build_vocabulary(counts: Sequence[pl.DataFrame], min_count: int) -> Vocabulary:
    """Builds the vocabulary of a table from the counts of all its uses.

    Args:
        counts: frames with `value` (text) and `count` (int); a value may stand in several.
        min_count: values counted less often are left out.

    Returns:
        The values by count, the largest first, and by value where counts are equal.
    """
    together = pl.concat([frame.select("value", pl.col("count").cast(pl.Int64)) for frame in counts])
    totals = together.drop_nulls("value").group_by("value").agg(pl.col("count").sum())
    kept = totals.filter(pl.col("count") >= min_count).sort(["count", "value"], descending=[True, False])
    return Vocabulary(kept["value"])
