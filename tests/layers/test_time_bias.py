"""Time gaps as a bias."""

import numpy as np
import pytest

from atrank_tf.layers import TimeBias, TimeBuckets


def test_the_bias_is_that_of_the_gaps_bucket() -> None:
    boundaries = (10, 20, 40)
    layer = TimeBias(boundaries, num_spaces=2)
    now = np.array([[1_700_000_000, 1_700_000_030]])
    timestamp = 1_700_000_000 - np.array([[0, 9, 10, 25, 39, 40, 9999, -5]])
    layer.build((1, 2), (1, 8))
    steps = np.array([[1.0, -1.0], [10.0, -10.0], [100.0, -100.0]], np.float32)
    layer.steps.assign(steps)
    by_bucket = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    found = np.asarray(layer(now, timestamp))
    assert found.shape == (1, 2, 2, 8)
    np.testing.assert_array_equal(found[0, 0, 0], [0, 0, 1, 11, 11, 111, 111, 0])
    for moment in range(2):
        bucket = np.asarray(TimeBuckets(boundaries)(now[:, moment], timestamp))[0]
        np.testing.assert_array_equal(found[0, :, moment], by_bucket[bucket].T)


@pytest.mark.parametrize("boundaries", [(2, 1), (0, 1), (1, 1)])
def test_boundaries_that_do_not_ascend_are_refused(boundaries: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Expected ascending boundaries above 0"):
        TimeBias(boundaries, 2)
