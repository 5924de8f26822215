"""Popularity, counted and scored by hand."""

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import PopularityHead

# Period 0 is before 10, 1 from 10 on, 2 from 20, 3 from 30; from 40 on all are over.
BEGINS = np.array([10, 20, 30, 40])
COUNTS = np.array([[0, 0, 0, 0], [1, 2, 4, 8], [3, 0, 0, 0]])
MEANS = COUNTS.mean(axis=0)


@pytest.fixture
def layer() -> PopularityHead:
    layer = PopularityHead(3, 4, hidden_dim=3)
    layer.build()
    layer.load(BEGINS, COUNTS)
    layer.kernel.assign(np.eye(3))  # One unit for each of the windows of 1, 2 and 4 periods.
    layer.bias.assign([40.0, 40.0, 40.0])  # Far above 0, where gelu(x) is x.
    layer.out.assign([[1.0], [10.0], [100.0]])
    return layer


def _logits(layer: PopularityHead, candidates: list[list[int]], now: list[int]) -> np.ndarray:
    return np.asarray(layer(tf.constant(candidates, tf.int64), tf.constant(now, tf.int64))) - 40 * 111


def _expected(object_: int, first: int, end: int) -> float:
    """The log share of an object in periods first..end - 1."""
    return float(np.log((COUNTS[object_, first:end].sum() + 0.1) / (MEANS[first:end].sum() + 0.1)))


def test_a_logit_is_of_the_shares_in_the_last_1_2_and_4_periods(layer: PopularityHead) -> None:
    found = _logits(layer, [[1, 2], [2, 0]], [35, 50])
    # At 35 periods 0, 1 and 2 are over; at 50 all are.
    at_35 = [_expected(o, 2, 3) + 10 * _expected(o, 1, 3) + 100 * _expected(o, 0, 3) for o in (1, 2)]
    at_50 = [_expected(o, 3, 4) + 10 * _expected(o, 2, 4) + 100 * _expected(o, 0, 4) for o in (2, 0)]
    np.testing.assert_allclose(found, [at_35, at_50], rtol=1e-4)


@pytest.mark.parametrize(("now", "over"), [(9, 0), (10, 1), (19, 1), (20, 2), (39, 3), (40, 4), (10**9, 4)])
def test_4_nothing_of_the_requests_period_or_later_is_seen(layer: PopularityHead, now: int, over: int) -> None:
    before = _logits(layer, [[0, 1, 2]], [now])
    later = COUNTS.copy()
    later[:, over:] += 7
    layer.load(BEGINS, later)
    np.testing.assert_array_equal(_logits(layer, [[0, 1, 2]], [now]), before)
    if over:
        earlier = COUNTS.copy()
        earlier[1, over - 1] += 7
        layer.load(BEGINS, earlier)
        assert _logits(layer, [[1]], [now]) > before[0, 1]


def test_without_counts_all_logits_are_the_same() -> None:
    layer = PopularityHead(3, 4)
    layer.build()
    layer.bias.assign(np.ones(layer.hidden_dim))
    found = np.asarray(layer(tf.constant([[0, 1, 2]], tf.int64), tf.constant([35], tf.int64)))
    assert found[0, 0] != 0
    np.testing.assert_array_equal(found, found[0, 0])


@pytest.mark.parametrize(
    ("begins", "counts", "message"),
    [
        (BEGINS[:3], COUNTS, r"Expected begins of shape \(4,\) and counts of shape \(3, 4\)\. Received: \(3,\) and"),
        (BEGINS, COUNTS[:2], r"Received: \(4,\) and \(2, 4\)\."),
        (BEGINS[::-1], COUNTS, r"Expected begins to ascend\. Received: begins=\[40, 30, 20, 10\]\."),
    ],
)
def test_counts_that_do_not_fit_are_refused(
    layer: PopularityHead, begins: np.ndarray, counts: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layer.load(begins, counts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "num_objects and hidden_dim must be positive. Received: num_objects=0"),
        ((3, 6), "a power of 2. Received: num_periods=6"),
    ],
)
def test_arguments_are_checked(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PopularityHead(*arguments)
