"""The paired bootstrap against exact enumeration, known answers and what must not matter."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from atrank_tf.evaluation import (
    CATALOG_METRICS,
    METRICS,
    CatalogRanks,
    PairedDifference,
    ScoredRequests,
    evaluate,
    evaluate_ranks,
    paired_difference,
    paired_differences,
    paired_rank_difference,
    paired_rank_differences,
)
from atrank_tf.evaluation.significance import COMPARED


def pairs(users, scores, mask=None):
    """One positive (first) and negatives per request."""
    scores = np.asarray(scores, dtype=np.float64)
    labels = np.zeros(scores.shape, dtype=np.int64)
    labels[:, 0] = 1
    mask = np.ones(scores.shape, dtype=bool) if mask is None else np.asarray(mask)
    return ScoredRequests(users=np.asarray(users), scores=scores, labels=labels, mask=mask)


def models(seed=0, count=300, users=60, gain=0.0):
    """Two models whose scores agree but for noise; `gain` lifts the positives of the first."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(count, 17)) + np.where(np.arange(17) == 0, 0.5, 0.0)
    mask = np.arange(17) < rng.integers(2, 18, size=(count, 1))
    owners = rng.integers(users, size=count)
    noise = rng.normal(scale=0.3, size=(2, *base.shape))
    noise[0, :, 0] += gain
    return tuple(pairs(owners, base + extra, mask) for extra in noise)


@pytest.mark.parametrize("metric", COMPARED)
def test_difference_is_that_of_the_two_evaluations(metric):
    a, b = models()
    result = paired_difference(a, b, metric, samples=100)
    expected = evaluate(a)[metric].value - evaluate(b)[metric].value
    assert isinstance(result, PairedDifference)
    assert result.metric == metric
    assert result.difference == pytest.approx(expected, rel=1e-9)
    assert result.users == len(np.unique(a.users))
    low, high = result.confidence_interval
    assert low < result.difference < high


@pytest.mark.parametrize("metric", COMPARED)
def test_a_model_against_itself(metric):
    a, _ = models()
    assert paired_difference(a, a, metric, samples=100) == PairedDifference(
        metric=metric,
        difference=0.0,
        standard_error=0.0,
        confidence_interval=(0.0, 0.0),
        p_value=1.0,
        users=len(np.unique(a.users)),
    )


@pytest.mark.parametrize("metric", COMPARED)
def test_swapping_the_models_turns_the_sign(metric):
    a, b = models(gain=0.2)
    one, other = paired_difference(a, b, metric, samples=100), paired_difference(b, a, metric, samples=100)
    assert other.difference == pytest.approx(-one.difference)
    assert other.standard_error == pytest.approx(one.standard_error)
    assert other.p_value == one.p_value
    assert other.confidence_interval == pytest.approx((-one.confidence_interval[1], -one.confidence_interval[0]))


def test_standard_error_of_three_users_is_that_of_every_resample():
    """Three users have 27 equally likely resamples: the exact standard error and p-value are known."""
    users = ["x", "x", "y", "z"]
    a = pairs(users, [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    b = pairs(users, [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    # Reciprocal ranks of a minus b: x 1/2 and 0, y 1/2, z -1/2. A mean over requests: x weighs twice.
    drawn = []
    for draw in itertools.product([(0.5, 2), (0.5, 1), (-0.5, 1)], repeat=3):
        drawn.append(sum(total for total, _ in draw) / sum(count for _, count in draw))
    result = paired_difference(a, b, "mrr", samples=10_000)
    assert result.difference == pytest.approx(0.5 / 4)
    assert result.standard_error == pytest.approx(np.std(drawn), rel=0.02)
    assert result.p_value == pytest.approx(2 * np.mean(np.array(drawn) <= 0), rel=0.05)
    assert result.confidence_interval == pytest.approx(np.quantile(np.repeat(drawn, 1000), [0.025, 0.975]))


def test_standard_error_of_a_mean_over_users_is_that_of_their_differences():
    rng = np.random.default_rng(1)
    a, b = (pairs(np.arange(500), rng.normal(size=(500, 4))) for _ in range(2))
    differences = [(x[1:] < x[0]).mean() - (y[1:] < y[0]).mean() for x, y in zip(a.scores, b.scores, strict=True)]
    result = paired_difference(a, b, samples=4000)
    assert result.standard_error == pytest.approx(np.std(differences) / math.sqrt(500), rel=0.05)


def test_a_better_model_is_found_and_a_tie_is_not():
    better = paired_difference(*models(gain=1.0))
    assert better.confidence_interval[0] > 0
    assert better.p_value == pytest.approx(2 / 1001)
    same = paired_difference(*models(gain=0.0))
    assert same.confidence_interval[0] < 0 < same.confidence_interval[1]
    assert same.p_value > 0.05


def test_log_loss_of_the_better_model_is_lower():
    assert paired_difference(*models(gain=1.0), metric="log_loss").confidence_interval[1] < 0


def test_the_seed_decides_the_numbers():
    a, b = models()
    one = paired_difference(a, b, seed=1)
    assert paired_difference(a, b, seed=1) == one
    assert paired_difference(a, b, seed=2).standard_error != one.standard_error


@pytest.mark.parametrize("metric", COMPARED)
def test_padding_is_no_difference(metric):
    a, b = models()
    dirty = dataclasses.replace(b, labels=np.where(b.mask, b.labels, -9)).padded_to(20)
    one, other = paired_difference(a, b, metric, samples=100), paired_difference(a, dirty, metric, samples=100)
    assert other.difference == pytest.approx(one.difference)
    assert other.confidence_interval == pytest.approx(one.confidence_interval)


@pytest.mark.parametrize("metric", ["user_auc", "mrr"])
def test_users_that_do_not_count_change_nothing(metric):
    a, b = models()
    nobody = ScoredRequests(
        users=[998, 999], scores=np.zeros((2, 3)), labels=np.zeros((2, 3), int), mask=np.zeros((2, 3), bool)
    )
    with_nobody = paired_difference(*(ScoredRequests.concatenate([nobody, m]) for m in (a, b)), metric, samples=100)
    assert with_nobody == paired_difference(a, b, metric, samples=100)


# --- errors ---


def test_another_number_of_requests():
    a, b = pairs(["x", "y"], np.ones((2, 3))), pairs(["x"], np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"must hold the same requests. Received: 2 and 1 requests"):
        paired_difference(a, b)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (["x", "y", "z"], ["x", "z", "w"], "users differ at 2 requests, the first is request 0: 'x' and 'w'"),
        ([1, 2, 3], ["1", "2", "3"], "users differ at 3 requests, the first is request 0: 1 and '1'"),
    ],
)
def test_other_users(ours, theirs, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(pairs(ours, np.ones((3, 2))), pairs(theirs, np.ones((3, 2))))


def test_another_mask():
    a = pairs(["x", "y"], np.ones((2, 3)))
    b = pairs(["x", "y"], np.ones((2, 3)), [[True, True, True], [True, True, False]])
    message = r"mask differs at 1 places, the first is request 1 \(user 'y'\), candidate 2: True and False"
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b)
    with pytest.raises(ValueError, match=r"mask differs at 2 places, the first is request 0 .* candidate 2"):
        paired_difference(a, pairs(["x", "y"], np.ones((2, 2))))


def test_other_labels():
    a = pairs(["x", "y"], np.ones((2, 3)))
    b = dataclasses.replace(a, labels=np.array([[1, 0, 0], [0, 1, 0]]))
    message = r"labels differs at 2 places, the first is request 1 \(user 'y'\), candidate 0: 1 and 0"
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b)


def test_unknown_metric():
    a, b = models()
    with pytest.raises(ValueError, match=r"Unknown metric 'ndcg'\. Did you mean \"ndcg@10\""):
        paired_difference(a, b, "ndcg")


def test_too_few_samples():
    a, b = models()
    with pytest.raises(ValueError, match=r"samples must be at least 100 for a 95% interval. Received: samples=99"):
        paired_difference(a, b, samples=99)


@pytest.mark.parametrize("metric", COMPARED)
def test_one_user_cannot_be_resampled(metric):
    a = pairs(["x", "x"], np.ones((2, 3)))
    with pytest.raises(ValueError, match=f"at least 2 users that count for '{metric}'. Received: 1 of 1 users"):
        paired_difference(a, a, metric)


def test_nobody_counts():
    a = ScoredRequests(users=["x", "y"], scores=np.ones((2, 2)), labels=np.zeros((2, 2)), mask=np.ones((2, 2), bool))
    with pytest.raises(ValueError, match=r"at least 2 users that count for 'user_auc'. Received: 0 of 2 users"):
        paired_difference(a, a)


def test_all_metrics_for_which_two_users_count():
    a, b = models()
    found = paired_differences(a, b)
    assert set(found) == set(METRICS) - {"auc"}
    with pytest.raises(ValueError, match=r"Unknown metric 'auc'"):
        paired_difference(a, b, "auc")  # Pooled, it is no mean over users.
    assert found["mrr"] == paired_difference(a, b, "mrr")
    # One candidate a request, one request a user: no user has a pair.
    alone = [pairs(range(5), np.zeros((5, 1))), pairs(range(5), np.ones((5, 1)))]
    assert set(paired_differences(*alone)) == {"log_loss", "ndcg@10", "mrr", "hit_rate@1", "hit_rate@10"}


def rankings(above, users=None, positives=None):
    """Ranks of one positive for each user, among 100 candidates."""
    count = len(above)
    return CatalogRanks(
        users=np.array([f"u{user}" for user in (range(count) if users is None else users)]),
        request_times=np.arange(count),
        positives=np.arange(count) if positives is None else np.asarray(positives),
        above=np.asarray(above),
        tied=np.zeros(count, np.int64),
        candidates=np.full(count, 100),
    )


def test_ranks_are_compared_in_whichever_order_they_are():
    rng = np.random.default_rng(4)
    above, users = rng.integers(0, 40, 60), rng.integers(0, 30, 60)
    a, b = rankings(above, users), rankings(above + rng.integers(0, 4, 60), users)
    order = rng.permutation(60)
    mixed = dataclasses.replace(
        b, **{f.name: getattr(b, f.name)[order] for f in dataclasses.fields(b) if f.name != "left_out"}
    )
    found = paired_rank_differences(a, mixed)
    assert list(found) == list(CATALOG_METRICS)
    for metric, difference in found.items():
        expected = evaluate_ranks(a)[metric].value - evaluate_ranks(b)[metric].value
        assert difference.difference == pytest.approx(expected)
        assert difference == paired_rank_difference(a, b, metric)
    assert found["mean_rank"].difference < 0 < found["mrr"].difference
    assert found["mean_rank"].p_value == 2 / 1001
    assert found["mrr"].users == len(np.unique(users))


def test_a_rank_difference_resamples_whole_users():
    """Of two users, both with a difference of 1 in each of their ranks, but one with three requests."""
    difference = paired_rank_difference(rankings([1] * 4, [0, 0, 0, 1]), rankings([0] * 4, [0, 0, 0, 1]), "mean_rank")
    assert (difference.difference, difference.standard_error, difference.users) == (1.0, 0.0, 2)
    spread = paired_rank_difference(rankings([0, 2]), rankings([0, 0]), "mean_rank", samples=4000)
    assert spread.standard_error == pytest.approx(math.sqrt(0.5), rel=0.05)  # 0, 1, 1, 2 with equal probability.


def test_ranks_of_other_requests_are_not_compared():
    with pytest.raises(
        ValueError, match=r"same requests with the same candidates\. Received: other positives, of 2 and 2"
    ):
        paired_rank_difference(rankings([1, 2]), rankings([1, 2], positives=[0, 7]))
    with pytest.raises(ValueError, match="Received: other users, of 2 and 3 requests"):
        paired_rank_difference(rankings([1, 2]), rankings([1, 2, 3]))


def test_ranks_of_one_user_are_not_resampled():
    one = rankings([1, 2], [5, 5])
    assert paired_rank_differences(one, one) == {}
    with pytest.raises(ValueError, match=r"A bootstrap over users needs at least 2 users\. Received: 1\."):
        paired_rank_difference(one, one)


def test_an_unknown_metric_of_ranks_names_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown metric 'ndcg@1O'\. Did you mean \"ndcg@10\"\?"):
        paired_rank_difference(rankings([1, 2]), rankings([1, 2]), "ndcg@1O")
