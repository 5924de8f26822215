"""Metrics of a rank, by hand and against those of scored requests."""

import math

import numpy as np
import pytest

from atrank_tf.evaluation import CATALOG_METRICS, CatalogRanks, ScoredRequests, evaluate, evaluate_ranks
from atrank_tf.evaluation.catalog_ranks import rank_values


def ranks(above: list[int], tied: list[int], left_out: int = 0) -> CatalogRanks:
    """Requests of users a, b, c, ..., among 100 candidates each."""
    count = len(above)
    return CatalogRanks(
        users=np.array([chr(ord("a") + user) for user in range(count)]),
        request_times=np.arange(count),
        positives=np.arange(count) + 2,
        above=np.array(above),
        tied=np.array(tied),
        candidates=np.full(count, 100),
        left_out=left_out,
    )


@pytest.mark.parametrize(
    ("above", "tied", "expected"),
    [
        (0, 0, {"hit_rate@10": 1, "ndcg@10": 1, "hit_rate@50": 1, "ndcg@50": 1, "mrr": 1, "mean_rank": 1}),
        (2, 0, {"hit_rate@10": 1, "ndcg@10": 0.5, "ndcg@50": 0.5, "mrr": 1 / 3, "mean_rank": 3}),
        (10, 0, {"hit_rate@10": 0, "ndcg@10": 0, "hit_rate@50": 1, "ndcg@50": 1 / math.log2(12), "mrr": 1 / 11}),
        (50, 0, {"hit_rate@50": 0, "ndcg@50": 0, "mrr": 1 / 51, "mean_rank": 51}),
        # Ranks 1 and 2 with equal probability.
        (0, 1, {"hit_rate@10": 1, "ndcg@10": (1 + 1 / math.log2(3)) / 2, "mrr": 0.75, "mean_rank": 1.5}),
        # Ranks 9 to 12, of which two are hits.
        (8, 3, {"hit_rate@10": 0.5, "ndcg@10": (1 / math.log2(10) + 1 / math.log2(11)) / 4, "mean_rank": 10.5}),
        (0, 99, {"hit_rate@10": 0.1, "hit_rate@50": 0.5, "mean_rank": 50.5}),
    ],
)
def test_a_rank_by_hand(above: int, tied: int, expected: dict[str, float]) -> None:
    for metric, value in expected.items():
        assert rank_values(ranks([above], [tied]), metric) == pytest.approx([value]), metric


def test_metrics_are_those_of_the_same_candidates_as_scored_requests() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 20, (40, 60)).astype(float)
    labels = np.eye(1, 60).repeat(40, axis=0)
    scored = ScoredRequests(np.arange(40), scores, labels, np.ones((40, 60), bool))
    own = scores[:, :1]
    found = evaluate_ranks(ranks((scores > own).sum(axis=1).tolist(), ((scores == own).sum(axis=1) - 1).tolist()))
    for metric in ("hit_rate@10", "ndcg@10", "mrr"):
        expected = evaluate(scored)[metric]
        assert (found[metric].value, found[metric].standard_error) == pytest.approx(
            (expected.value, expected.standard_error)
        )
        assert found[metric].count == expected.count


def test_means_have_standard_errors_and_tell_what_was_left_out() -> None:
    found = evaluate_ranks(ranks([0, 1, 5], [0, 0, 0], left_out=4))
    assert list(found) == list(CATALOG_METRICS)
    assert found["mean_rank"].value == pytest.approx(3.0)
    assert found["mean_rank"].standard_error == pytest.approx(math.sqrt((4 + 1 + 9) / 2 / 3))
    assert {(each.count, each.left_out) for each in found.values()} == {(3, 4)}


def test_the_parts_of_a_split_are_joined_and_put_in_order() -> None:
    parts = [ranks([3, 1], [0, 1], left_out=1), ranks([7], [2], left_out=2)]
    joined = CatalogRanks.concatenate(parts)
    assert (joined.above.tolist(), joined.tied.tolist(), joined.left_out) == ([3, 1, 7], [0, 1, 2], 3)
    ordered = joined.in_order()
    assert (ordered.users.tolist(), ordered.above.tolist(), ordered.left_out) == (["a", "a", "b"], [3, 7, 1], 3)
