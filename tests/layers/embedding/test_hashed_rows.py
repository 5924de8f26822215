"""Rows of codes in a table of bounded size: by hand, spread evenly, and apart in several hashes."""

import numpy as np
import pytest

from atrank_tf.layers import HashedRows

FIRST = 2


def folded(product: int) -> int:
    return (product >> 31) ^ (product & (2**31 - 1))


def test_by_hand() -> None:
    codes = np.array([[0, 1], [2, 1_000_002]])
    value = 1_000_000
    second = folded(folded(value * 1_640_531_527) * 1_640_531_527)
    expected = [[[0, 0], [1, 1]], [[2, 2], [FIRST + value % 7, FIRST + second % 7]]]
    np.testing.assert_array_equal(HashedRows(7, 2, FIRST)(codes), expected)


def test_rows_are_used_alike_and_codes_that_share_one_seldom_share_others() -> None:
    rows, count = 1_024, 100_000
    codes = FIRST + np.random.default_rng(1).integers(0, 2**31 - FIRST, count)
    found = np.asarray(HashedRows(rows, 5, FIRST)(codes)) - FIRST
    assert found.min() == 0 and found.max() == rows - 1
    expected_pairs = count * (count - 1) / 2 / rows**2
    for one in range(5):
        used = np.bincount(found[:, one], minlength=rows)
        assert 0.8 < used.var() / (count / rows) < 1.2  # Of even chances it is 1, within 0.05.
        for other in range(one):
            _, together = np.unique(found[:, one] * rows + found[:, other], return_counts=True)
            assert (together * (together - 1) / 2).sum() == pytest.approx(expected_pairs, rel=0.15)


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_rows must be positive\. Received: num_rows=0\."):
        HashedRows(0, 1, FIRST)
    for hashes in (0, 6):
        with pytest.raises(ValueError, match=rf"num_hashes must be 1 to 5\. Received: num_hashes={hashes}\."):
            HashedRows(5, hashes, FIRST)
