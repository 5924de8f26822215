"""The sizes to which batches are padded under XLA."""

import numpy as np
import tensorflow as tf

from atrank_tf.models.size_ladder import LADDER, rung


def test_a_rung_is_the_least_that_is_enough_and_a_fifth_of_it_at_most_is_padding() -> None:
    assert LADDER[:15] == (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28)
    for count in range(2_000):
        found = int(rung(tf.constant(count, tf.int64)))
        assert found == min(each for each in LADDER if each >= count)
        assert (found - count) / found < 0.2 or count == 0


def test_counts_keep_their_type_and_may_be_large() -> None:
    for count in (0, 1, 9, 2**30 + 1):
        found = rung(tf.constant(count, tf.int32))
        assert found.dtype == tf.int32
    assert int(found) == 5 * 2**28
    assert np.all(np.diff(LADDER) > 0)
