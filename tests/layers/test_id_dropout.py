"""Id dropout: which rows it replaces, how many, and when."""

import numpy as np
import pytest

from atrank_tf.layers import IdDropout

ROWS = np.random.default_rng(0).integers(0, 50, size=(101, 103))


def test_a_share_of_the_rows_becomes_the_unknown_one_and_padding_stays() -> None:
    found = np.asarray(IdDropout(0.25, unknown=1, seed=1)(ROWS, training=True))
    assert found.dtype == ROWS.dtype
    replaced = found != ROWS
    assert set(found[replaced]) == {1}
    assert not replaced[ROWS <= 1].any()
    known = ROWS > 1
    assert replaced[known].mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / known.sum()))


def test_each_call_draws_anew() -> None:
    layer = IdDropout(0.5, unknown=1, seed=1)
    first, second = (np.asarray(layer(ROWS, training=True)) for _ in range(2))
    assert (first != second).any()


def test_a_rate_that_rounds_to_all_leaves_padding_alone() -> None:
    found = np.asarray(IdDropout(0.999, unknown=2, seed=1)(ROWS, training=True))
    np.testing.assert_array_equal(found, np.minimum(ROWS, 2))


def test_outside_of_training_and_without_a_rate_nothing_changes() -> None:
    np.testing.assert_array_equal(np.asarray(IdDropout(0.5, unknown=1)(ROWS)), ROWS)
    np.testing.assert_array_equal(np.asarray(IdDropout(0.0, unknown=1)(ROWS, training=True)), ROWS)
    assert IdDropout(0.0, unknown=1).variables == []
