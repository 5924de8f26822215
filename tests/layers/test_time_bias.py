"""Time gaps as a bias."""

import numpy as np
import pytest
import tensorflow as tf

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
    for reference in range(2):
        bucket = np.asarray(TimeBuckets(boundaries)(now[:, reference], timestamp))[0]
        np.testing.assert_array_equal(found[0, :, reference], by_bucket[bucket].T)


@pytest.mark.parametrize(("users", "references", "behaviors"), [(3, 4, 5), (3, 0, 5), (3, 4, 0), (0, 4, 5)])
def test_the_gradient_of_a_step_is_the_sum_over_the_gaps_that_reach_it(
    users: int, references: int, behaviors: int
) -> None:
    boundaries = (10, 20, 40)
    layer = TimeBias(boundaries, num_spaces=2)
    random = np.random.default_rng(1)
    now, timestamp = random.integers(50, 90, (users, references)), random.integers(20, 70, (users, behaviors))
    upstream = random.normal(size=(users, 2, references, behaviors)).astype(np.float32)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(now, timestamp) * upstream)
    gap = now[:, None, :, None] - timestamp[:, None, None, :]
    expected = [(upstream * (gap >= boundary)).sum(axis=(0, 2, 3)) for boundary in boundaries]
    np.testing.assert_allclose(tape.gradient(total, layer.steps.value), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("boundaries", [(2, 1), (0, 1), (1, 1)])
def test_boundaries_that_do_not_ascend_are_refused(boundaries: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Expected ascending boundaries above 0"):
        TimeBias(boundaries, 2)
