"""Time gaps -> buckets, second by second at every boundary, with the timestamps of today."""

import bisect

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import TimeBuckets

DAY = 86_400
DOUBLING = tuple(DAY * 2**power for power in range(11))
# Whole seconds of the 2020s that no float32 holds: its neighbors there are 128 seconds apart.
TIMES = [1_577_836_801, 1_700_000_003, 1_767_225_599, 1_893_455_999]


def _buckets(boundaries: tuple[int, ...], now: list[int], timestamp: list[list[int]]) -> np.ndarray:
    return np.asarray(TimeBuckets(boundaries)(np.array(now, "int64"), np.array(timestamp, "int64")))


def test_buckets_double_and_the_last_one_is_open() -> None:
    gaps = range(10)
    found = _buckets((1, 2, 4, 8), [9], [[9 - gap for gap in gaps]])
    assert found.tolist() == [[0, 1, 2, 2, 3, 3, 3, 3, 4, 4]]
    assert found.dtype == np.int32
    assert _buckets((1, 2, 4, 8), [10**12], [[0]]).tolist() == [[4]]


@pytest.mark.parametrize("now", TIMES)
def test_every_boundary_is_exact_to_the_second(now: int) -> None:
    gaps = [boundary + shift for boundary in DOUBLING for shift in (-1, 0, 1)]
    expected = [place + reached for place in range(len(DOUBLING)) for reached in (0, 1, 1)]
    assert _buckets(DOUBLING, [now], [[now - gap for gap in gaps]]).tolist() == [expected]


@pytest.mark.slow
def test_every_boundary_is_exact_to_the_second_under_xla() -> None:
    traced, now = tf.function(TimeBuckets(DOUBLING), jit_compile=True), TIMES[1]
    gaps = [boundary + shift for boundary in DOUBLING for shift in (-1, 0)]
    found = traced(tf.constant([now], tf.int64), tf.constant([[now - gap for gap in gaps]], tf.int64))
    assert np.asarray(found).tolist() == [[number + reached for number in range(len(DOUBLING)) for reached in (0, 1)]]


@pytest.mark.parametrize("dtype", ["float16", "mixed_bfloat16", "float32"])
def test_every_boundary_is_exact_under_every_dtype_policy(dtype: str) -> None:
    now = 1_700_000_003
    gaps = [boundary + shift for boundary in DOUBLING for shift in (-1, 0)]
    found = TimeBuckets(DOUBLING, dtype=dtype)(np.array([now]), now - np.array([gaps]))
    assert np.asarray(found).tolist() == [[place + reached for place in range(len(DOUBLING)) for reached in (0, 1)]]


def test_a_gap_has_the_bucket_that_a_search_in_the_boundaries_finds() -> None:
    rng = np.random.default_rng(0)
    boundaries = (7, 11, 100, 4_099, 10**6, 10**9)
    now = rng.integers(1_577_836_800, 1_900_000_000, 5)
    gaps = (10 ** rng.uniform(0, 9.5, (5, 101))).astype("int64")
    expected = [[bisect.bisect_right(boundaries, gap) for gap in row] for row in gaps]
    np.testing.assert_array_equal(TimeBuckets(boundaries)(now, now[:, None] - gaps), expected)


def test_each_user_has_a_now_of_its_own() -> None:
    assert _buckets((10, 20), [100, 115], [[95, 90, 80], [95, 110, 105]]).tolist() == [[0, 1, 2], [2, 0, 1]]


def test_a_behavior_at_or_after_now_is_in_bucket_zero() -> None:
    now = TIMES[1]
    assert _buckets(DOUBLING, [now], [[now, now + 1, now + DAY, now + 10**9]]).tolist() == [[0, 0, 0, 0]]


def test_padding_with_timestamp_zero_is_in_the_last_bucket() -> None:
    assert _buckets(DOUBLING, [TIMES[0]], [[0]]).tolist() == [[len(DOUBLING)]]


def test_no_behaviors_give_no_buckets() -> None:
    assert _buckets(DOUBLING, [5, 7, 11], [[], [], []]).shape == (3, 0)


def test_no_boundaries_put_everything_in_bucket_zero() -> None:
    assert _buckets((), [100], [[0, 99, 200]]).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("boundaries", [(2, 1), (1, 3, 2), (1, 1)])
def test_boundaries_that_do_not_ascend_are_refused(boundaries: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected ascending boundaries above 0\. Received: boundaries=\("):
        TimeBuckets(boundaries)


def test_one_bucket_knows_no_time() -> None:
    assert _buckets((), [100], [[99, 5, 0]]).tolist() == [[0, 0, 0]]
