"""Rows of about one length share a batch, within the budget of places and the number of rows."""

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data.batching import batch_limits

LENGTHS = np.random.default_rng(0).integers(1, 40, 97)


def _batches(lengths: np.ndarray, tokens: int, rows: int, seed: int = 1) -> list[list[int]]:
    order, limits = batch_limits(
        tf.constant(lengths, tf.int64), tokens=tokens, rows=rows, seed=tf.constant([seed, 2], tf.int64)
    )
    return [order.numpy()[begin:end].tolist() for begin, end in limits.numpy()]


@pytest.mark.parametrize("count", [0, 1, 4, 97])
@pytest.mark.parametrize(("tokens", "rows"), [(100, 1000), (1000, 7), (100, 7)])
def test_each_row_is_in_one_batch(count: int, tokens: int, rows: int) -> None:
    batches = _batches(LENGTHS[:count], tokens, rows)
    assert sorted(row for batch in batches for row in batch) == list(range(count))
    assert all(batches)


@pytest.mark.parametrize(("tokens", "rows"), [(100, 1000), (1000, 7), (100, 7), (10, 1000)])
def test_places_and_rows_stay_within_their_bounds(tokens: int, rows: int) -> None:
    for batch in _batches(LENGTHS, tokens, rows):
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * LENGTHS[batch].max() <= tokens


def test_a_batch_holds_as_many_rows_as_fit() -> None:
    # 9 | 8 8 | 5, and two of the 2s | what is left
    lengths = np.array([9, 8, 8, 5, 2, 2, 2, 1])
    batches = sorted(_batches(lengths, 16, 3), key=min)
    assert sorted(sorted(lengths[batch].tolist()) for batch in batches) == [[1, 2], [2, 2, 5], [8, 8], [9]]


def test_rows_without_a_behavior_take_a_place() -> None:
    assert sorted(len(batch) for batch in _batches(np.zeros(5, int), 2, 100)) == [1, 2, 2]


def test_neighbors_in_length_share_a_batch_and_batches_come_in_random_order() -> None:
    lengths = np.random.default_rng(0).permutation(np.repeat(np.arange(1, 11), 4))
    first = set()
    for seed in range(20):
        batches = _batches(lengths, 1000, 4, seed)
        assert all(len(set(lengths[batch])) == 1 for batch in batches)
        first.add(int(lengths[batches[0][0]]))
    assert len(first) > 3


def test_rows_of_one_length_meet_others_each_time() -> None:
    one, two = ({frozenset(batch) for batch in _batches(np.full(12, 5), 20, 100, seed)} for seed in range(2))
    assert one != two


def test_who_shares_a_batch_has_nothing_to_do_with_what_else_is_drawn_by_the_seed() -> None:
    drawn = tf.random.stateless_uniform([1000], tf.constant([1, 2], tf.int64), dtype=tf.float64).numpy()
    for batch in _batches(np.full(1000, 5), tokens=500, rows=1000):
        assert drawn[batch].min() < 0.1 and drawn[batch].max() > 0.9
