"""Scored requests stand in one order, however they were batched."""

import dataclasses

import numpy as np

from atrank_tf.evaluation import ScoredRequests, paired_difference


def _requests(seed: int) -> ScoredRequests:
    """40 requests of 12 users, some of them alike but for their scores."""
    rng = np.random.default_rng(seed)
    mask = np.arange(5) < rng.integers(2, 6, size=(40, 1))
    labels = (np.arange(5) == rng.integers(0, 2, size=(40, 1))).astype(float)
    labels[~mask] = rng.integers(0, 9, size=(~mask).sum())  # Padding holds anything.
    return ScoredRequests(rng.integers(0, 12, 40).astype(str), rng.normal(size=(40, 5)), labels, mask)


def _taken(scored: ScoredRequests, order: np.ndarray) -> ScoredRequests:
    return ScoredRequests(*(getattr(scored, field.name)[order] for field in dataclasses.fields(scored)))


def test_the_order_depends_on_nothing_but_the_requests() -> None:
    scored = _requests(0)
    ordered, other = scored.in_order(), _taken(scored, np.random.default_rng(1).permutation(40)).in_order()
    assert ordered.users.tolist() == sorted(scored.users.tolist()) == other.users.tolist()
    np.testing.assert_array_equal(ordered.mask, other.mask)
    np.testing.assert_array_equal(ordered.labels * ordered.mask, other.labels * other.mask)
    for user in set(scored.users.tolist()):  # Nobody's scores went to somebody else.
        mine, found = scored.scores[scored.users == user], other.scores[other.users == user]
        np.testing.assert_array_equal(np.sort(mine.sum(axis=1)), np.sort(found.sum(axis=1)))


def test_models_that_saw_requests_in_another_order_can_be_compared() -> None:
    scored = _requests(2)
    better = dataclasses.replace(scored, scores=scored.scores + (scored.labels == 1))
    expected = paired_difference(better, scored, samples=100)
    shuffled = _taken(scored, np.random.default_rng(3).permutation(40))
    found = paired_difference(better, shuffled, samples=100)
    assert expected.difference > 0
    np.testing.assert_allclose(found.difference, expected.difference, rtol=1e-12)
