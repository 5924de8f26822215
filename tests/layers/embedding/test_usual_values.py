"""What is usual of an object, by hand."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import UsualValues

# Period 0 is before 10, 1 from 10 on, 2 from 20, 3 from 30; from 40 on all are over.
BEGINS = np.array([10, 20, 30, 40])
# Object 1 was shown with 2 and 4 in period 0, with 3 in period 2; object 2 with 6 in period 2.
COUNTS = np.array([[0, 0, 0, 0], [2, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
SUMS = np.array([[0, 0, 0, 0], [6, 0, 3, 0], [0, 0, 6, 0], [0, 0, 0, 0]], float)[..., np.newaxis]
SQUARES = np.array([20, 0, 45, 0], float)[:, np.newaxis]


@pytest.fixture
def layer() -> UsualValues:
    layer = UsualValues(4, 4, 1)
    layer.build()
    layer.load(BEGINS, COUNTS, SUMS, SQUARES)
    return layer


def _found(layer: UsualValues, candidates: Any, values: Any, now: Any) -> np.ndarray:
    values = tf.constant(values, tf.float32)[..., tf.newaxis]
    return np.asarray(layer(tf.constant(candidates, tf.int64), values, tf.constant(now, tf.int64)))


def test_usual_is_the_mean_of_earlier_showings_and_beyond_how_far_the_candidate_is_from_it(layer: UsualValues) -> None:
    found = _found(layer, [[1, 2, 3], [1, 2, 3]], [[5, 5, 5], [5, 5, 5]], [15, 50])
    # At 15 the mean of all is 3, the deviation 1; object 1 was shown twice.
    at_15 = [[2 / 5 * (3 - 3) / 1.05, 2 / 5 * (5 - 3) / 1.05], [0, 0], [0, 0]]
    # At 50 the mean of all is 15 / 4, the mean square 65 / 4.
    mean, spread = 15 / 4, np.sqrt(65 / 4 - (15 / 4) ** 2) + 0.05
    at_50 = [
        [3 / 6 * (3 - mean) / spread, 3 / 6 * (5 - 3) / spread],
        [1 / 4 * (6 - mean) / spread, 1 / 4 * (5 - 6) / spread],
        [0, 0],
    ]
    np.testing.assert_allclose(found, [at_15, at_50], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(("now", "over"), [(9, 0), (10, 1), (19, 1), (20, 2), (39, 3), (40, 4), (10**9, 4)])
def test_4_nothing_of_the_requests_period_or_later_is_seen(layer: UsualValues, now: int, over: int) -> None:
    asked = ([[1, 2, 3]], [[5, 5, 5]], [now])
    before = _found(layer, *asked)
    counts, sums, squares = COUNTS.copy(), SUMS.copy(), SQUARES.copy()
    counts[:, over:] += 7
    sums[:, over:] += 70
    squares[over:] += 9000
    layer.load(BEGINS, counts, sums, squares)
    np.testing.assert_array_equal(_found(layer, *asked), before)
    if over:
        earlier = SUMS.copy()
        earlier[1, over - 1] += 9
        layer.load(BEGINS, COUNTS + np.eye(4, dtype=int)[:, [over - 1] * 4].T, earlier, SQUARES + 40)
        assert (_found(layer, *asked)[0, 1] != before[0, 1]).any()


def test_lists_of_one_user_have_times_of_their_own(layer: UsualValues) -> None:
    candidates, values = [[[1, 2], [3, 1]]], [[[5, 1], [2, 4]]]
    found = _found(layer, candidates, values, [[15, 50]])
    for place, now in enumerate((15, 50)):
        alone = _found(layer, [candidates[0][place]], [values[0][place]], [now])
        np.testing.assert_allclose(found[:, place], alone, rtol=1e-6)


def test_without_showings_all_is_0() -> None:
    layer = UsualValues(4, 4, 1)
    layer.build()
    np.testing.assert_array_equal(_found(layer, [[0, 1, 2]], [[5, 5, 5]], [35]), np.zeros((1, 3, 2)))


def test_values_that_are_all_equal_tell_nothing() -> None:
    layer = UsualValues(2, 4, 1)
    layer.build()
    sums = 1.1 * np.array([[0] * 4, [3] * 4], float)[..., np.newaxis]
    layer.load(BEGINS, np.array([[0] * 4, [3] * 4]), sums, np.full((4, 1), 3 * 1.1**2))
    np.testing.assert_allclose(_found(layer, [[1]], [[1.1]], [50]), np.zeros((1, 1, 2)), atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"begins": BEGINS[:3]}, r"Expected sums of shape \(4, 4, 1\) and .* Received: \(\(3,\), \(4, 4\), "),
        ({"counts": COUNTS[:2]}, r"Received: \(\(4,\), \(2, 4\), "),
        ({"squares": SQUARES[:, 0]}, r"\(4, 4, 1\), \(4,\)\)\."),
        ({"begins": BEGINS[::-1]}, r"Expected begins to ascend\. Received: begins=\[40, 30, 20, 10\]\."),
    ],
)
def test_sums_that_do_not_fit_are_refused(layer: UsualValues, changed: dict[str, np.ndarray], message: str) -> None:
    arrays = {"begins": BEGINS, "counts": COUNTS, "sums": SUMS, "squares": SQUARES} | changed
    with pytest.raises(ValueError, match=message):
        layer.load(**arrays)


@pytest.mark.parametrize("name", ["num_objects", "num_periods", "num_values"])
def test_arguments_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive. Received: {name}=0"):
        UsualValues(**{"num_objects": 4, "num_periods": 4, "num_values": 1, name: 0})
