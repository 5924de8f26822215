"""Positions counted from the newest behavior, by hand."""

import numpy as np
import pytest

from atrank_tf.layers import PositionEmbedding


def test_the_newest_has_position_0_and_the_old_share_the_last() -> None:
    layer = PositionEmbedding(3)
    layer.build((2, 5, 1))
    layer.table.assign([[1.0], [2.0], [3.0]])
    mask = np.arange(5) < np.array([[5], [2]])
    found = np.asarray(layer(np.full((2, 5, 1), 10.0), mask))[..., 0]
    np.testing.assert_array_equal(found[0], [13.0, 13.0, 13.0, 12.0, 11.0])
    np.testing.assert_array_equal(found[1, :2], [12.0, 11.0])


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_length must be positive\. Received: max_length=0"):
        PositionEmbedding(0)
