"""HTML pages that need nothing but themselves: their parts, charts, and a policy that lets nothing else load or run."""

from atrank_tf.pages.charts import against_diagonal, bars, curve, dots, lines
from atrank_tf.pages.elements import (
    allowed,
    document,
    figures,
    filled,
    row,
    row_name,
    section,
    share,
    table,
    text_cell,
)

__all__ = [
    "against_diagonal",
    "allowed",
    "bars",
    "curve",
    "document",
    "dots",
    "figures",
    "filled",
    "lines",
    "row",
    "row_name",
    "section",
    "share",
    "table",
    "text_cell",
]
