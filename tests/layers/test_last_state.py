"""The state at the end of a sequence, by hand."""

import numpy as np

from atrank_tf.layers import LastState


def test_it_is_that_of_the_last_real_place() -> None:
    states = np.arange(1.0, 13.0).reshape(3, 4, 1)
    mask = np.arange(4) < np.array([[4], [2], [0]])
    np.testing.assert_array_equal(np.asarray(LastState()(states, mask)), [[4.0], [6.0], [0.0]])


def test_no_places_give_zeros() -> None:
    np.testing.assert_array_equal(
        np.asarray(LastState()(np.zeros((2, 0, 3)), np.zeros((2, 0), bool))), np.zeros((2, 3))
    )
