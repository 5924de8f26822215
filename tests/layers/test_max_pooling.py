"""The maximum over real places, by hand."""

import numpy as np

from atrank_tf.layers import MaxPooling


def test_padding_is_not_looked_at_and_nothing_gives_zeros() -> None:
    states = np.array([[[-1.0, 5.0], [-2.0, 3.0], [9.0, 9.0]]] * 2)
    mask = np.array([[True, True, False], [False, False, False]])
    np.testing.assert_array_equal(np.asarray(MaxPooling()(states, mask)), [[-1.0, 5.0], [0.0, 0.0]])
