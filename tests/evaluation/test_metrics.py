"""Metrics against numbers worked out by hand, against counting every pair and every order, and against keras-rs."""

import dataclasses
import itertools
import math

import keras_rs
import numpy as np
import pytest

from atrank_tf.evaluation import METRICS, ScoredRequests, evaluate, metrics


def requests(users, scores, labels, mask=None):
    scores = np.asarray(scores, dtype=np.float64)
    mask = np.ones(scores.shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    return ScoredRequests(users=users, scores=scores, labels=labels, mask=mask)


def random_requests(seed, count=41, width=13, users=7, levels=4):
    """Ragged requests with few distinct scores (many ties), several per user, some without positive or negative."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(count, width)).astype(np.float32) if levels else rng.normal(size=(count, width))
    labels = (rng.random((count, width)) < rng.choice([0.0, 0.1, 0.4, 1.0], size=(count, 1))).astype(np.float32)
    mask = np.arange(width) < rng.integers(width + 1, size=(count, 1))
    return ScoredRequests(users=rng.integers(users, size=count), scores=scores, labels=labels, mask=mask)


def count_pairs(scores, labels):
    """AUC by looking at every pair; None where there is none."""
    pairs = [
        (positive > negative) + 0.5 * (positive == negative)
        for positive, negative in itertools.product(scores[labels == 1], scores[labels == 0])
    ]
    return float(np.mean(pairs)) if pairs else None


def every_order(scores, labels):
    """NDCG@10, MRR, hit rate at 1 and 10 of one request, as the mean over all orders that agree with the scores."""
    found = []
    for order in itertools.permutations(range(len(scores))):
        if all(scores[first] >= scores[second] for first, second in itertools.pairwise(order)):
            relevance = [float(labels[index]) for index in order]
            dcg, ideal = (
                sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains[:10]))
                for gains in (relevance, sorted(relevance, reverse=True))
            )
            found.append((dcg / ideal, 1 / (relevance.index(1) + 1), relevance[0], float(1 in relevance[:10])))
    return np.mean(found, axis=0)


# --- numbers worked out by hand ---


def test_one_request_by_hand():
    result = evaluate(requests(["u"], [[1.0, 3.0, 2.0, 0.0]], [[0, 0, 1, 1]]))
    assert list(result) == list(METRICS)
    # Order: negative, positive, negative, positive. Pairs won: (2 > 1), of four.
    assert result["user_auc"].value == result["auc"].value == 0.25
    assert result["mrr"].value == 0.5
    assert (result["hit_rate@1"].value, result["hit_rate@10"].value) == (0.0, 1.0)
    ideal = 1 + 1 / math.log2(3)
    assert result["ndcg@10"].value == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal, rel=1e-12)
    softplus = [math.log1p(math.exp(x)) for x in (1.0, 3.0, -2.0, 0.0)]
    assert result["log_loss"].value == pytest.approx(np.mean(softplus), rel=1e-12)
    assert [result[name].count for name in METRICS] == [1, 4, 4, 1, 1, 1, 1]
    assert all(estimate.left_out == 0 for estimate in result.values())
    # One thing averaged says nothing about its spread.
    for name in ("user_auc", "ndcg@10", "mrr", "hit_rate@10"):
        assert math.isnan(result[name].standard_error)


def test_standard_error_of_a_mean_by_hand():
    scores = [[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]]
    result = evaluate(requests(["a", "b", "c"], scores, [[1, 0]] * 3))
    # User AUCs 1, 1, 0: variance (1/9 + 1/9 + 4/9) / 2 = 1/3.
    assert result["user_auc"].value == pytest.approx(2 / 3)
    assert result["user_auc"].standard_error == pytest.approx(1 / 3)
    assert result["mrr"].value == pytest.approx((1 + 1 + 0.5) / 3)
    assert result["mrr"].standard_error == pytest.approx(1 / 6)


def test_auc_standard_error_is_delong_by_hand():
    # Positives 3 and 1, negatives 2 and 0. Shares won: 3 -> 1, 1 -> 1/2; 2 -> 1/2, 0 -> 1. Each variance is 1/8.
    result = evaluate(requests(["a", "b"], [[3.0, 2.0], [1.0, 0.0]], [[1, 0], [1, 0]]))["auc"]
    assert result.value == 0.75
    assert result.standard_error == pytest.approx(math.sqrt(1 / 8 / 2 + 1 / 8 / 2))
    assert result.count == 4


def test_requests_of_one_user_are_pooled():
    scores = [[3.0, 2.0], [0.0, 1.0], [0.0, 1.0]]
    result = evaluate(requests(["a", "b", "a"], scores, [[1, 0], [1, 0], [0, 1]]))
    # User a: positives 3 and 1 against negatives 2 and 0 wins 3 of 4; user b wins none.
    assert result["user_auc"].value == pytest.approx((0.75 + 0) / 2)
    assert result["user_auc"].count == 2
    # A user's positive and negative may come from different requests.
    split = evaluate(requests(["a", "a"], [[3.0], [2.0]], [[1], [0]]))["user_auc"]
    assert (split.value, split.count, split.left_out) == (1.0, 1, 0)


def test_users_without_a_positive_or_without_a_negative_are_left_out_and_counted():
    scores = [[3.0, 2.0], [3.0, 2.0], [3.0, 2.0], [3.0, 2.0]]
    labels = [[1, 0], [0, 0], [1, 1], [0, 1]]
    result = evaluate(requests(["good", "none", "only", "bad"], scores, labels))
    assert result["user_auc"].value == 0.5
    assert (result["user_auc"].count, result["user_auc"].left_out) == (2, 2)
    # A request needs a positive only: that of "only" counts, and is perfect.
    assert result["mrr"].value == pytest.approx((1 + 1 + 0.5) / 3)
    assert (result["mrr"].count, result["mrr"].left_out) == (3, 1)
    assert result["auc"].left_out == 0


def test_nothing_defined_is_nan_with_count_zero():
    result = evaluate(requests(["a", "b"], [[1.0, 2.0], [3.0, 4.0]], np.zeros((2, 2))))
    for name, left_out in {"user_auc": 2, "auc": 4, "ndcg@10": 2, "mrr": 2, "hit_rate@1": 2, "hit_rate@10": 2}.items():
        assert math.isnan(result[name].value) and math.isnan(result[name].standard_error)
        assert (result[name].count, result[name].left_out) == (0, left_out)
    assert math.isfinite(result["log_loss"].value)


def test_log_loss_of_extreme_scores_is_exact():
    result = evaluate(requests(["a"], [[800.0, -800.0, 800.0, -40.0]], [[1, 0, 0, 0]]))["log_loss"]
    assert result.value == pytest.approx(800 / 4, rel=1e-12)
    small = evaluate(requests(["a"], [[-40.0]], [[0]]))["log_loss"]
    assert small.value == pytest.approx(math.exp(-40), rel=1e-12, abs=0)


def test_only_the_ten_highest_count_for_ndcg_and_hit_rate():
    scores = -np.arange(12.0)[None]
    at = {rank: evaluate(requests(["a"], scores, (np.arange(12) == rank - 1)[None])) for rank in (10, 11)}
    assert (at[10]["hit_rate@10"].value, at[11]["hit_rate@10"].value) == (1.0, 0.0)
    assert at[10]["ndcg@10"].value == pytest.approx(1 / math.log2(11))
    assert at[11]["ndcg@10"].value == 0.0
    assert at[11]["mrr"].value == pytest.approx(1 / 11)


# --- ties ---


@pytest.mark.parametrize("place", [0, 5, 19])
def test_a_model_that_scores_everything_equal_gets_what_chance_gets(place):
    labels = np.tile(np.arange(20) == place, (3, 1))
    result = evaluate(requests(["a", "b", "b"], np.zeros((3, 20)), labels))
    assert result["user_auc"].value == result["auc"].value == 0.5
    assert result["hit_rate@10"].value == pytest.approx(10 / 20)
    assert result["mrr"].value == pytest.approx(sum(1 / rank for rank in range(1, 21)) / 20)
    assert result["ndcg@10"].value == pytest.approx(sum(1 / math.log2(1 + rank) for rank in range(1, 11)) / 20)


def test_tied_positives_by_hand():
    # 12 candidates, 2 positives, all tied: the best two ranks of 12 miss the top ten only as {11, 12}, 1 of 66 pairs.
    labels = np.zeros((1, 12))
    labels[0, :2] = 1
    assert evaluate(requests(["a"], np.zeros((1, 12)), labels))["hit_rate@10"].value == pytest.approx(65 / 66)


def test_negative_zero_ties_with_zero():
    assert evaluate(requests(["a"], [[0.0, -0.0]], [[1, 0]]))["user_auc"].value == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_request_metrics_are_the_mean_over_every_order_of_ties(seed):
    scored = random_requests(seed, count=12, width=7, levels=3)
    labels = scored.labels.copy()
    labels[:, 0], mask = 1, scored.mask.copy()
    mask[:, 0] = True
    scored = dataclasses.replace(scored, labels=labels, mask=mask)
    expected = np.mean(
        [every_order(s[m], y[m]) for s, y, m in zip(scored.scores, scored.labels, scored.mask, strict=True)], axis=0
    )
    result = evaluate(scored)
    np.testing.assert_allclose([result[name].value for name in METRICS[3:]], expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_tie_across_rank_ten_counts_by_its_chance(seed):
    """16 candidates are too many for every order, so the run across rank 10 is dealt out by every choice of places."""
    rng = np.random.default_rng(seed)
    scores = np.repeat([3.0, 2.0, 1.0], [7, 6, 3])
    labels = np.zeros(16)
    labels[rng.choice(np.arange(7, 16), size=3, replace=False)] = 1
    tied = int(labels[7:13].sum())
    chosen = list(itertools.combinations(range(8, 14), tied))
    hit = np.mean([min(ranks, default=99) <= 10 for ranks in chosen])
    dcg = np.mean([sum(1 / math.log2(1 + rank) for rank in ranks if rank <= 10) for ranks in chosen])
    ideal = sum(1 / math.log2(1 + rank) for rank in (1, 2, 3))
    shuffled = rng.permutation(16)
    result = evaluate(requests(["a"], scores[None, shuffled], labels[None, shuffled]))
    assert result["hit_rate@10"].value == pytest.approx(hit)
    assert result["ndcg@10"].value == pytest.approx(dcg / ideal)


# --- oracles ---


@pytest.mark.parametrize("levels", [2, 4, 0])
@pytest.mark.parametrize("seed", range(3))
def test_aucs_equal_counting_every_pair(seed, levels):
    scored = random_requests(seed, levels=levels)
    real = scored.mask
    result = evaluate(scored)
    assert result["auc"].value == pytest.approx(count_pairs(scored.scores[real], scored.labels[real]), rel=1e-12)
    users = np.broadcast_to(scored.users[:, None], real.shape)
    of_users = [
        count_pairs(scored.scores[real & (users == user)], scored.labels[real & (users == user)])
        for user in np.unique(scored.users)
    ]
    counted = [value for value in of_users if value is not None]
    assert result["user_auc"].value == pytest.approx(np.mean(counted), rel=1e-12)
    assert (result["user_auc"].count, result["user_auc"].left_out) == (len(counted), len(of_users) - len(counted))


@pytest.mark.parametrize("seed", range(2))
def test_request_metrics_equal_keras_rs_where_no_scores_tie(seed):
    scored = random_requests(seed, count=64, width=24, levels=0)
    has_positive = (scored.mask & (scored.labels == 1)).any(axis=1)
    # keras-rs counts requests without a positive as zeros.
    scores, labels, mask = (part[has_positive] for part in (scored.scores, scored.labels, scored.mask))
    assert 10 < len(scores) < 64
    result = evaluate(scored)
    for name, oracle in (
        ("ndcg@10", keras_rs.metrics.NDCG(k=10)),
        ("mrr", keras_rs.metrics.MeanReciprocalRank()),
    ):
        oracle.update_state({"labels": labels.astype(np.float32), "mask": mask}, scores.astype(np.float32))
        assert result[name].value == pytest.approx(float(oracle.result()), rel=1e-5)


def test_hit_rate_equals_keras_rs_recall_where_a_request_has_one_positive():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(64, 24)), np.eye(24)[rng.integers(24, size=64)]
    oracle = keras_rs.metrics.RecallAtK(k=10)
    oracle.update_state(labels.astype(np.float32), scores.astype(np.float32))
    result = evaluate(requests(np.arange(64), scores, labels))
    assert result["hit_rate@10"].value == pytest.approx(float(oracle.result()), rel=1e-5)


def test_blocks_do_not_matter(monkeypatch):
    scored = random_requests(0)
    whole = evaluate(scored)
    monkeypatch.setattr(metrics, "_BLOCK", 50)
    blocks = evaluate(scored)
    for name in METRICS:
        assert blocks[name] == whole[name]


# --- padding, order, batches ---


def test_what_stands_in_padded_places_and_more_padding_change_nothing():
    scored = random_requests(5)
    clean = evaluate(scored)
    for garbage in (np.nan, np.inf, -np.inf, 1e30, -7.0):
        scores = np.where(scored.mask, scored.scores, garbage)
        labels = np.where(scored.mask, scored.labels, garbage)
        dirty = dataclasses.replace(scored, scores=scores.astype(np.float32), labels=labels)
        assert evaluate(dirty) == clean
    wider = evaluate(scored.padded_to(scored.scores.shape[1] + 5))
    for name in METRICS:
        assert dataclasses.astuple(wider[name]) == pytest.approx(dataclasses.astuple(clean[name]), rel=1e-12)


def test_the_order_of_candidates_and_requests_does_not_matter():
    scored = random_requests(6)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(scored.scores.shape[0]), rng.permutation(scored.scores.shape[1])
    mixed = ScoredRequests(
        users=scored.users[rows],
        scores=scored.scores[rows][:, columns],
        labels=scored.labels[rows][:, columns],
        mask=scored.mask[rows][:, columns],
    )
    one, other = evaluate(scored), evaluate(mixed)
    for name in METRICS:
        assert dataclasses.astuple(other[name]) == pytest.approx(dataclasses.astuple(one[name]), rel=1e-12)


@pytest.mark.parametrize("dtype", [object, str, "S8"])
def test_users_may_be_strings_bytes_or_objects(dtype):
    scored = random_requests(7)
    named = dataclasses.replace(scored, users=np.array([f"user{user}" for user in scored.users]).astype(dtype))
    assert evaluate(named) == evaluate(scored)


def test_concatenate_pads_to_the_longest():
    short = requests(["a"], [[1.0, 2.0]], [[1, 0]])
    long = requests(["b", "a"], [[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]], [[0, 1, 0], [1, 0, 0]], [[1, 1, 1], [1, 1, 0]])
    both = ScoredRequests.concatenate([short, long])
    assert both.users.tolist() == ["a", "b", "a"]
    assert both.scores.shape == both.labels.shape == (3, 3)
    assert both.mask.tolist() == [[True, True, False], [True, True, True], [True, True, False]]
    assert both.scores[both.mask].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert both.labels[both.mask].tolist() == [1, 0, 0, 1, 0, 1, 0]


def test_concatenate_of_batches_is_the_whole_split():
    scored = random_requests(8)
    parts = []
    for rows in np.split(np.arange(len(scored.users)), [5, 5, 20]):
        width = max(1, int(scored.mask[rows].sum(axis=1).max(initial=0)))
        parts.append(
            ScoredRequests(
                users=scored.users[rows],
                scores=scored.scores[rows, :width],
                labels=scored.labels[rows, :width],
                mask=scored.mask[rows, :width],
            )
        )
    whole, joined = evaluate(scored), evaluate(ScoredRequests.concatenate(parts))
    for name in METRICS:
        assert dataclasses.astuple(joined[name]) == pytest.approx(dataclasses.astuple(whole[name]), rel=1e-12)


def test_a_part_without_requests_does_not_change_the_users():
    empty = ScoredRequests(users=[], scores=np.zeros((0, 4)), labels=np.zeros((0, 4)), mask=np.zeros((0, 4), bool))
    both = ScoredRequests.concatenate([empty, requests([2**60 + 1], [[1.0]], [[1]])])
    assert both.users.tolist() == [2**60 + 1]
    assert len(ScoredRequests.concatenate([empty, empty]).users) == 0


# --- errors ---


def valid(**changes):
    fields = {
        "users": np.array(["a", "b"]),
        "scores": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "labels": np.array([[1, 0, 0], [0, 1, 0]]),
        "mask": np.ones((2, 3), dtype=bool),
    }
    return ScoredRequests(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": [["a", "b"]]}, r"users must have the shape \[R\]. Received: users.shape=\(1, 2\)"),
        ({"scores": np.ones(3)}, r"scores must have the shape \[R, N\]. Received: scores.shape=\(3,\)"),
        ({"labels": np.ones((2, 2))}, r"labels must have the shape of scores. Received: labels.shape=\(2, 2\)"),
        ({"mask": np.ones((3, 3), bool)}, r"mask must have the shape of scores. Received: mask.shape=\(3, 3\)"),
        ({"users": ["a", "b", "c"]}, r"one entry per request. Received: 3 users, scores.shape=\(2, 3\)"),
        ({"users": [0.5, 1.5]}, "users must hold strings, bytes or integers. Received: users.dtype=float64"),
        ({"scores": np.ones((2, 3), int)}, "scores must hold floats. Received: scores.dtype=int64"),
        ({"labels": np.full((2, 3), "1")}, "labels must hold booleans, integers or floats. Received: labels.dtype=<U1"),
        ({"mask": np.ones((2, 3), int)}, r"mask must hold booleans \(True = real candidate\). Received: mask.dtype"),
        (
            {"users": np.array(["a", None], object)},
            "strings, bytes or integers. Received: None of type NoneType at req",
        ),
    ],
)
def test_wrong_shapes_and_dtypes(changes, message):
    with pytest.raises(ValueError, match=message):
        valid(**changes)


def test_scores_that_are_not_finite_are_counted_and_located():
    scores = np.array([[1.0, np.nan, 3.0], [np.nan, np.inf, np.nan]])
    mask = np.array([[True, False, True], [True, True, True]])
    message = r"2 NaN and 1 infinite among 5 scores, the first is nan at request 1 \(user 'b'\), candidate 0"
    with pytest.raises(ValueError, match=message):
        valid(scores=scores, mask=mask)


def test_labels_other_than_zero_and_one_are_counted_and_located():
    with pytest.raises(ValueError, match=r"2 others, the first is 0.5 at request 0 \(user 'a'\), candidate 2"):
        valid(labels=np.array([[1, 0, 0.5], [np.nan, 1, 0]]))


def test_concatenate_nothing():
    with pytest.raises(ValueError, match=r"parts must hold at least one ScoredRequests. Received: an empty sequence"):
        ScoredRequests.concatenate([])


def test_concatenate_users_of_two_kinds():
    with pytest.raises(ValueError, match=r"one kind of dtype in all parts. Received: <U1 in part 0, int64 in part 2"):
        ScoredRequests.concatenate([valid(), valid(), valid(users=np.array([1, 2]))])


def test_padded_to_less():
    with pytest.raises(ValueError, match=r"width must be at least N=3. Received: width=2"):
        valid().padded_to(2)


@pytest.mark.parametrize("count", [0, 2])
def test_evaluate_nothing(count):
    empty = ScoredRequests(
        users=np.arange(count),
        scores=np.zeros((count, 3)),
        labels=np.zeros((count, 3)),
        mask=np.zeros((count, 3), dtype=bool),
    )
    message = rf"at least one real candidate. Received: {count} requests, scores.shape=\({count}, 3\)"
    with pytest.raises(ValueError, match=message):
        evaluate(empty)


def test_unknown_metric():
    with pytest.raises(ValueError, match=r"Unknown metric 'user_aux'\. Did you mean \"user_auc\"\? Valid: auc, hit"):
        metrics.check_metric("user_aux")
