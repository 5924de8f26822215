"""Who sees whom within a timeline, written out."""

import numpy as np

from atrank_tf.layers import CausalMask

# Two groups, one after the other.
TIMESTAMP, GROUP = np.array([[1, 5, 5, 5, 7]]), np.array([[0, 0, 0, 1, 1]])


def test_a_moment_sees_itself_and_what_came_before() -> None:
    expected = [
        [1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(np.asarray(CausalMask([False, False])(TIMESTAMP, GROUP))[0], expected)


def test_where_order_counts_a_moment_is_seen_up_to_ones_place_and_no_other_group() -> None:
    expected = [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(np.asarray(CausalMask([True, False])(TIMESTAMP, GROUP))[0], expected)


def test_two_groups_whose_order_counts_do_not_see_each_other_in_a_moment() -> None:
    expected = [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(np.asarray(CausalMask([True, True])(TIMESTAMP, GROUP))[0], expected)
