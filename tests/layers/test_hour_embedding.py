"""The embedding of the hour of the day."""

import numpy as np

from atrank_tf.layers import HourEmbedding


def test_hours_begin_as_nothing_and_each_has_a_vector() -> None:
    layer = HourEmbedding(3)
    day = 86_400 * 20_000
    now = np.array([[day, day + 3599, day + 3600], [day + 86_399, day - 1, 0]])
    assert not np.asarray(layer(now)).any()
    layer.hours.assign(np.arange(24 * 3).reshape(24, 3))
    found = np.asarray(layer(now))
    assert found.shape == (2, 3, 3)
    np.testing.assert_array_equal(found[..., 0] / 3, [[0, 0, 1], [23, 23, 0]])
