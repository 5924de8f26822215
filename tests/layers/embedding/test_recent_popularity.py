"""Popularity, counted by hand."""

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import RecentPopularity

# Period 0 is before 10, 1 from 10 on, 2 from 20, 3 from 30; from 40 on all are over.
BEGINS = np.array([10, 20, 30, 40])
COUNTS = np.array([[0, 0, 0, 0], [1, 2, 4, 8], [3, 0, 0, 0]])
MEANS = COUNTS.mean(axis=0)


@pytest.fixture
def layer() -> RecentPopularity:
    layer = RecentPopularity(3, 4)
    layer.build()
    layer.load(BEGINS, COUNTS)
    return layer


def _shares(layer: RecentPopularity, candidates: list[list[int]], now: list[int]) -> np.ndarray:
    return np.asarray(layer(tf.constant(candidates, tf.int64), tf.constant(now, tf.int64)))


def _expected(object_: int, first: int, end: int) -> float:
    """The log share of an object in periods first..end - 1."""
    return float(np.log((COUNTS[object_, first:end].sum() + 0.1) / (MEANS[first:end].sum() + 0.1)))


def test_the_shares_are_of_the_last_1_2_and_4_periods(layer: RecentPopularity) -> None:
    found = _shares(layer, [[1, 2], [2, 0]], [35, 50])
    # At 35 periods 0, 1 and 2 are over; at 50 all are.
    at_35 = [[_expected(o, 2, 3), _expected(o, 1, 3), _expected(o, 0, 3)] for o in (1, 2)]
    at_50 = [[_expected(o, 3, 4), _expected(o, 2, 4), _expected(o, 0, 4)] for o in (2, 0)]
    np.testing.assert_allclose(found, [at_35, at_50], rtol=1e-4)


@pytest.mark.parametrize(("now", "over"), [(9, 0), (10, 1), (19, 1), (20, 2), (39, 3), (40, 4), (10**9, 4)])
def test_4_nothing_of_the_requests_period_or_later_is_seen(layer: RecentPopularity, now: int, over: int) -> None:
    before = _shares(layer, [[0, 1, 2]], [now])
    later = COUNTS.copy()
    later[:, over:] += 7
    layer.load(BEGINS, later)
    np.testing.assert_array_equal(_shares(layer, [[0, 1, 2]], [now]), before)
    if over:
        earlier = COUNTS.copy()
        earlier[1, over - 1] += 7
        layer.load(BEGINS, earlier)
        assert (_shares(layer, [[1]], [now]) > before[:, 1:2]).all()


def test_of_several_values_each_has_its_own(layer: RecentPopularity) -> None:
    values = [[[1, 2], [0, 1]], [[2, 2], [1, 0]]]
    found = np.asarray(layer(tf.constant(values, tf.int64), tf.constant([35, 50], tf.int64)))
    assert found.shape == (2, 2, 2, 3)
    for place in range(2):
        of_place = _shares(layer, [[each[place] for each in row] for row in values], [35, 50])
        np.testing.assert_allclose(found[:, :, place], of_place, rtol=1e-5)


def test_without_counts_all_is_0() -> None:
    layer = RecentPopularity(3, 4)
    layer.build()
    np.testing.assert_array_equal(_shares(layer, [[0, 1, 2]], [35]), np.zeros((1, 3, 3)))


def test_more_than_its_numbers_can_hold_counts_as_the_most() -> None:
    layer = RecentPopularity(3, 4)
    layer.build()
    layer.load(BEGINS, np.array([[0] * 4, [0, 0, 0, 10**6], [0, 0, 0, 65_504]]))
    found = _shares(layer, [[1, 2]], [50])
    np.testing.assert_array_equal(found[0, 0], found[0, 1])
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("begins", "counts", "message"),
    [
        (BEGINS[:3], COUNTS, r"Expected begins of shape \(4,\) and counts of shape \(3, 4\)\. Received: \(3,\) and"),
        (BEGINS, COUNTS[:2], r"Received: \(4,\) and \(2, 4\)\."),
        (BEGINS[::-1], COUNTS, r"Expected begins to ascend\. Received: begins=\[40, 30, 20, 10\]\."),
    ],
)
def test_counts_that_do_not_fit_are_refused(
    layer: RecentPopularity, begins: np.ndarray, counts: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layer.load(begins, counts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "num_objects must be positive. Received: num_objects=0"),
        ((3, 6), "a power of 2. Received: num_periods=6"),
    ],
)
def test_arguments_are_checked(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecentPopularity(*arguments)
