"""The embedding of hour and weekday."""

import numpy as np
import pytest

from atrank_tf.layers import CalendarEmbedding

HOUR, DAY = 3600, 86_400


def test_it_begins_as_nothing_and_is_a_difference_from_the_mean() -> None:
    """Hand-computed: two requests at 1:00 on Thursdays, one at 1:00 on a Saturday, one at 5:00 on a Saturday."""
    layer, requests = CalendarEmbedding(1), np.zeros(168, np.int64)
    requests[1], requests[2 * 24 + 1], requests[2 * 24 + 5] = 2, 1, 1
    week = 7 * DAY * 2_900  # Of Unix time, which begins with a Thursday.
    now = week + np.array([[HOUR, 2 * DAY + 5 * HOUR + 3599], [2 * HOUR, DAY + HOUR]])
    assert not np.asarray(layer(now)).any()
    layer.load(requests)
    hours, days = 100.0 + np.arange(24), 1000.0 * np.arange(7)
    layer.vectors.assign(np.concatenate([hours, days])[:, np.newaxis])
    mean_hour, mean_day = (3 * 101 + 105) / 4, 2000 / 2
    expected = [
        [101 - mean_hour + 0 - mean_day, 105 - mean_hour + 2000 - mean_day],
        [0 - mean_day, 101 - mean_hour],  # Nothing was asked at 2:00, and nothing on Fridays.
    ]
    np.testing.assert_allclose(np.asarray(layer(now))[..., 0], expected, rtol=1e-6)


def test_times_of_one_hour_and_weekday_tell_nothing() -> None:
    layer, requests = CalendarEmbedding(3), np.zeros(168, np.int64)
    requests[24] = 7
    layer.build()
    layer.load(requests)
    layer.vectors.assign(np.random.default_rng(0).normal(size=(31, 3)))
    np.testing.assert_allclose(layer(np.arange(0, 7 * DAY, HOUR)), 0, atol=1e-6)


def test_other_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected the number of requests in each of 168 hours .+: shape \(24,\)"):
        CalendarEmbedding(3).load(np.ones(24, np.int64))
