"""Sampled negatives."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data.candidates import NegativeSampler, positives_of_users
from atrank_tf.data.catalog import Catalog
from atrank_tf.data.targets import Behaviors, Chunk
from atrank_tf.schema import Negatives, schema_from_dict

ROWS = 9
COUNTS = np.array([0, 0, 50, 30, 10, 5, 5, 0, 0])


def _schema() -> Any:
    return schema_from_dict(
        {
            "tables": {"item": {"dim": 2}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"buy": {"entity": "item", "actions": ["view", "buy"]}},
            "tasks": {"next_buy": {"group": "buy", "actions": ["buy"], "negatives": {"uniform": 1}}},
        }
    )


def _catalog(counts: np.ndarray = COUNTS) -> Catalog:
    rows = np.arange(len(counts), dtype=np.int32)
    return Catalog(ids=rows[2:], counts=counts, table_rows=rows, features={}, dense={})


def _chunk(own: list[list[tuple[int, int]]]) -> Chunk:
    """`own`: for each user, (id, action) of each behavior."""
    flat = [(user, *row) for user, rows in enumerate(own) for row in rows]
    user, ids, actions = (tf.constant([row[place] for row in flat], tf.int64) for place in range(3))
    splits = tf.constant(np.cumsum([0] + [len(rows) for rows in own]), tf.int64)
    return Chunk(tf.constant([]), {}, {"buy": Behaviors(ids, actions, tf.zeros_like(ids), user, splits)}, {})


def _draw(negatives: Negatives, chunk: Chunk, users: list[int], seed: int = 0, pool: int = 0) -> np.ndarray:
    sampler = NegativeSampler(_catalog(), negatives)
    seeds = tf.constant([seed, 5], tf.int64)
    positives = positives_of_users(chunk, _schema(), "next_buy")
    rows: np.ndarray = sampler.draw(positives, tf.constant(users, tf.int64), seeds, pool).numpy()
    return rows


def test_a_negative_is_seen_in_training_and_none_of_the_users_positives() -> None:
    chunk = _chunk([[(2, 3), (3, 3), (4, 2)], [], [(6, 3)]])
    rows = _draw(Negatives(uniform=200, popularity=100), chunk, [0, 1, 2, 0])
    for row, allowed in zip(rows, ({4, 5, 6}, {2, 3, 4, 5, 6}, {2, 3, 4, 5}, {4, 5, 6}), strict=True):
        assert set(row) == allowed


def test_draws_follow_the_declared_distribution() -> None:
    chunk = _chunk([[]])
    uniform = np.bincount(_draw(Negatives(uniform=20_000), chunk, [0])[0], minlength=ROWS) / 20_000
    np.testing.assert_allclose(uniform, [0, 0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0], atol=0.015)
    popular = np.bincount(_draw(Negatives(popularity=20_000), chunk, [0])[0], minlength=ROWS) / 20_000
    np.testing.assert_allclose(popular, COUNTS / COUNTS.sum(), atol=0.015)


def test_a_seed_gives_the_same_draws_and_another_seed_others() -> None:
    chunk = _chunk([[(2, 3)]])
    first = _draw(Negatives(uniform=30), chunk, [0])
    np.testing.assert_array_equal(first, _draw(Negatives(uniform=30), chunk, [0]))
    assert (first != _draw(Negatives(uniform=30), chunk, [0], seed=1)).any()


def test_a_user_who_has_everything_gets_padding() -> None:
    chunk = _chunk([[(row, 3) for row in range(2, 7)]])
    assert _draw(Negatives(uniform=3), chunk, [0]).tolist() == [[0, 0, 0]]


def test_no_target_draws_nothing() -> None:
    assert _draw(Negatives(uniform=2, popularity=1), _chunk([[(2, 3)]]), []).shape == (0, 3)


def test_a_catalog_that_nobody_touched_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected objects seen in training to draw negatives from"):
        NegativeSampler(_catalog(np.zeros(ROWS, np.int64)), Negatives(uniform=1))


def test_a_pool_gives_few_different_objects_and_still_none_of_the_users_positives() -> None:
    chunk = _chunk([[(2, 3), (3, 3)], [(4, 3)]])
    for seed in range(8):
        rows = _draw(Negatives(uniform=2, popularity=1), chunk, [0] * 50 + [1] * 50, seed, pool=6)
        assert all(len(set(column)) <= 2 + 1 for column in rows.T)  # Two draws, and padding.
        assert not {2, 3} & set(rows[:50].ravel())
        assert 4 not in rows[50:]
    sampler = NegativeSampler(_catalog(), Negatives(uniform=1))
    positives, users = positives_of_users(chunk, _schema(), "next_buy"), tf.constant([1] * 3, tf.int64)
    draw = tf.function(lambda seed: sampler.draw(positives, users, tf.stack([seed, 5]), 2))
    pooled = np.concatenate([draw(tf.constant(seed, tf.int64)) for seed in range(300)])
    share = np.bincount(pooled.ravel(), minlength=ROWS) / pooled.size
    np.testing.assert_allclose(share[[2, 3, 5, 6]], 0.25, atol=0.07)


def test_one_negative_is_drawn_in_a_graph_too() -> None:
    """The widths of a draw must be known when the loop of redraws is traced."""
    chunk = _chunk([[(4, 3), (5, 3)], [(6, 3)]])
    positives = positives_of_users(chunk, _schema(), "next_buy")
    sampler = NegativeSampler(_catalog(), Negatives(uniform=1))
    traced = tf.function(lambda user: sampler.draw(positives, user, tf.constant([1, 2], tf.int64), 4))
    found = traced(tf.constant([0, 1, 1], tf.int64)).numpy()
    assert found.shape == (3, 1) and (found > 1).all()
