"""Sampled negatives: what is never drawn, and how often the rest is."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data.candidates import NegativeSampler, training_negatives
from atrank_tf.data.catalog import Catalog
from atrank_tf.data.excluded import excluded
from atrank_tf.data.targets import Behaviors, Chunk, Targets
from atrank_tf.experiment import Batching
from atrank_tf.schema import Exclude, Negatives, schema_from_dict

ROWS = 9
COUNTS = np.array([0, 0, 50, 30, 10, 5, 5, 0, 0])
VIEW, BUY = 2, 3


def _schema(exclude: str = Exclude.EVER_CHOSEN) -> Any:
    negatives = {"uniform": 1, "exclude": exclude}
    return schema_from_dict(
        {
            "tables": {"item": {"dim": 2}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"buy": {"entity": "item", "actions": ["view", "buy"]}},
            "tasks": {"next_buy": {"group": "buy", "actions": ["buy"], "negatives": negatives}},
        }
    )


def _catalog(counts: np.ndarray = COUNTS) -> Catalog:
    rows = np.arange(len(counts), dtype=np.int32)
    return Catalog(ids=rows[2:], counts=counts, table_rows=rows, features={}, dense={})


def _chunk(own: list[list[tuple[int, ...]]]) -> Chunk:
    """`own`: for each user, (id, action) of each behavior, and its timestamp if it is not 1."""
    flat = [(user, *row, 1)[:4] for user, rows in enumerate(own) for row in rows]
    user, ids, actions, timestamps = (tf.constant([row[place] for row in flat], tf.int64) for place in range(4))
    splits = tf.constant(np.cumsum([0] + [len(rows) for rows in own]), tf.int64)
    return Chunk(tf.constant([]), {}, {"buy": Behaviors(ids, actions, timestamps, user, splits)}, {})


def _targets(users: list[int], times: list[int] | None = None) -> Targets:
    user = tf.constant(users, tf.int64)
    return Targets(user, user, tf.ones_like(user) if times is None else tf.constant(times, tf.int64), {}, {})


def _draw(
    negatives: Negatives, chunk: Chunk, targets: Targets, seed: int = 0, pool: int = 0, schema: Any = None
) -> np.ndarray:
    sampler = NegativeSampler(_catalog(), negatives)
    seeds = tf.constant([seed, 5], tf.int64)
    rows: np.ndarray = sampler.draw(
        excluded(chunk, schema or _schema(), "next_buy"), None, targets, seeds, pool
    ).numpy()
    return rows


def _seen(**numbers: int) -> Negatives:
    return Negatives(**numbers, unseen=False)


def test_a_negative_is_seen_in_training_and_none_that_the_user_ever_chose() -> None:
    chunk = _chunk([[(2, BUY, 1), (3, BUY, 8), (4, VIEW, 9)], [], [(6, BUY)]])
    rows = _draw(_seen(uniform=200, popularity=100), chunk, _targets([0, 1, 2, 0], [1, 1, 1, 8]))
    for row, allowed in zip(rows, ({4, 5, 6}, {2, 3, 4, 5, 6}, {2, 3, 4, 5}, {4, 5, 6}), strict=True):
        assert set(row) == allowed


def test_a_negative_is_none_that_the_user_chose_at_the_same_moment() -> None:
    """The basket of 2 and 3 excludes both for each of its targets; 4 was only viewed, 5 bought another time."""
    chunk = _chunk([[(5, BUY, 3), (2, BUY, 7), (2, BUY, 7), (3, BUY, 7), (4, VIEW, 7), (2, BUY, 9)], [(6, BUY, 7)]])
    targets = _targets([0, 0, 0, 1, 0], [3, 7, 7, 7, 9])
    rows = _draw(_seen(uniform=200, popularity=100), chunk, targets, schema=_schema(Exclude.SAME_MOMENT))
    expected = [{2, 3, 4, 6}, {4, 5, 6}, {4, 5, 6}, {2, 3, 4, 5}, {3, 4, 5, 6}]
    assert [set(row) for row in rows.tolist()] == expected


def test_draws_follow_the_declared_distribution() -> None:
    chunk, targets = _chunk([[]]), _targets([0])
    uniform = np.bincount(_draw(_seen(uniform=20_000), chunk, targets)[0], minlength=ROWS) / 20_000
    np.testing.assert_allclose(uniform, [0, 0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0], atol=0.015)
    popular = np.bincount(_draw(_seen(popularity=20_000), chunk, targets)[0], minlength=ROWS) / 20_000
    np.testing.assert_allclose(popular, COUNTS / COUNTS.sum(), atol=0.015)


def test_unseen_objects_are_drawn_evenly_too_unless_the_schema_says_no() -> None:
    chunk, targets = _chunk([[]]), _targets([0])
    rows = _draw(Negatives(uniform=20_000, popularity=1_000), chunk, targets)[0]
    uniform = np.bincount(rows[:20_000], minlength=ROWS) / 20_000
    np.testing.assert_allclose(uniform, [0, 0, *[1 / 7] * 7], atol=0.015)
    assert set(rows[20_000:]) == {2, 3, 4, 5, 6}  # Popularity draws what has some.


def test_a_seed_gives_the_same_draws_and_another_seed_others() -> None:
    chunk, targets = _chunk([[(2, BUY)]]), _targets([0])
    first = _draw(Negatives(uniform=30), chunk, targets)
    np.testing.assert_array_equal(first, _draw(Negatives(uniform=30), chunk, targets))
    assert (first != _draw(Negatives(uniform=30), chunk, targets, seed=1)).any()


@pytest.mark.parametrize("exclude", Exclude)
def test_a_user_who_has_everything_gets_padding(exclude: Exclude) -> None:
    chunk = _chunk([[(row, BUY) for row in range(2, ROWS)]])
    assert _draw(Negatives(uniform=3), chunk, _targets([0]), schema=_schema(exclude)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("exclude", Exclude)
def test_no_target_draws_nothing(exclude: Exclude) -> None:
    chunk, schema = _chunk([[(2, BUY)]]), _schema(exclude)
    assert _draw(Negatives(uniform=2, popularity=1), chunk, _targets([]), schema=schema).shape == (0, 3)


@pytest.mark.parametrize(
    ("negatives", "counts", "message"),
    [
        (
            _seen(uniform=1),
            np.zeros(ROWS, np.int64),
            r"to draw uniform negatives from\. .* that training has seen: see",
        ),
        (
            Negatives(uniform=1, popularity=1),
            np.zeros(ROWS, np.int64),
            r"to draw popularity negatives from\. .* that training has seen: see \[split\]",
        ),
        (Negatives(uniform=1), np.zeros(2, np.int64), r"draw uniform negatives from\. Found none in the catalog\.$"),
    ],
)
def test_a_catalog_with_nothing_to_draw_is_refused(negatives: Negatives, counts: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NegativeSampler(_catalog(counts), negatives)


def test_a_catalog_that_nobody_touched_is_drawn_from() -> None:
    sampler = NegativeSampler(_catalog(np.zeros(ROWS, np.int64)), Negatives(uniform=50))
    barred, seed = excluded(_chunk([[]]), _schema(), "next_buy"), tf.constant([0, 5], tf.int64)
    found = sampler.draw(barred, None, _targets([0]), seed)
    assert set(found.numpy()[0]) == set(range(2, ROWS))


def test_a_pool_gives_few_different_objects_and_still_none_of_the_users_positives() -> None:
    chunk, targets = _chunk([[(2, BUY), (3, BUY)], [(4, BUY)]]), _targets([0] * 50 + [1] * 50)
    for seed in range(8):
        rows = _draw(_seen(uniform=2, popularity=1), chunk, targets, seed, pool=6)
        assert all(len(set(column)) <= 2 + 1 for column in rows.T)  # Two draws, and padding.
        assert not {2, 3} & set(rows[:50].ravel())
        assert 4 not in rows[50:]
    sampler, barred = NegativeSampler(_catalog(), _seen(uniform=1)), excluded(chunk, _schema(), "next_buy")
    draw = tf.function(lambda seed: sampler.draw(barred, None, _targets([1] * 3), tf.stack([seed, 5]), 2))
    pooled = np.concatenate([draw(tf.constant(seed, tf.int64)) for seed in range(300)])
    share = np.bincount(pooled.ravel(), minlength=ROWS) / pooled.size
    np.testing.assert_allclose(share[[2, 3, 5, 6]], 0.25, atol=0.07)


def test_one_negative_is_drawn_in_a_graph_too() -> None:
    """The widths of a draw must be known when the loop of redraws is traced."""
    chunk = _chunk([[(4, BUY), (5, BUY)], [(6, BUY)]])
    barred, sampler = excluded(chunk, _schema(), "next_buy"), NegativeSampler(_catalog(), Negatives(uniform=1))
    seed = tf.constant([1, 2], tf.int64)
    traced = tf.function(lambda user: sampler.draw(barred, None, Targets(user, user, user, {}, {}), seed, 4))
    found = traced(tf.constant([0, 1, 1], tf.int64)).numpy()
    assert found.shape == (3, 1) and (found > 1).all()


@pytest.mark.parametrize(
    ("declared", "number", "expected"),
    [
        ((6, 0, 3), 9, (6, 0, 3)),
        ((6, 0, 3), 3, (2, 0, 1)),
        ((6, 0, 3), 4, (3, 0, 1)),
        ((3, 1, 0), 9, (7, 2, 0)),
        ((0, 5, 5), 3, (0, 1, 2)),
        ((1, 1, 1), 100, (33, 33, 34)),
        ((0, 0, 2), 5, (0, 0, 5)),
        ((1, 1, 0), 0, (1, 1, 0)),
    ],
)
def test_training_divides_its_negatives_between_the_kinds_as_declared(
    declared: tuple[int, int, int], number: int, expected: tuple[int, int, int]
) -> None:
    kinds = ("uniform", "popularity", "history")
    found = training_negatives(_seen(**dict(zip(kinds, declared, strict=True))), Batching(negatives=number))
    assert tuple(getattr(found, kind) for kind in kinds) == expected
    assert not found.unseen
