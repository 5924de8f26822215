"""Ranking metrics of one task over a whole split, each with its standard error and the number of values averaged.

Shapes: R requests, N candidates of the longest request, U users.

Ties. Candidates with equal scores have no order, so every metric is the exact expectation over random orders of each
run of equal scores. A model that scores all candidates equally has an AUC of one half, and a random order's value of
the other metrics, wherever positives are in the batch. keras-rs metrics draw one such order at random (keras-rs 0.4
does so for `shuffle_ties=False` too), which agrees on scores without ties but adds noise with them. They also count a
request without a positive as a zero, and give no standard error. So they are an oracle of the tests, not the
implementation.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.schema import suggestion

CUTOFF = 10
METRICS = ("user_auc", "auc", "log_loss", f"ndcg@{CUTOFF}", "mrr", "hit_rate@1", f"hit_rate@{CUTOFF}")

# Rows are processed in blocks of about this many candidates: 8 MiB for each float64 temporary.
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Value of one metric over one split, with its standard error.

    Attributes:
        value: the metric; NaN if `count` is 0.
        standard_error: standard error of `value`; NaN where it cannot be estimated (one value averaged, or for `auc`
            fewer than two positives or two negatives).
        count: number of values averaged: of users (`user_auc`), real candidates (`auc`, `log_loss`) or requests (all
            others).
        left_out: number of users, requests or candidates without what the metric needs.
    """

    value: float
    standard_error: float
    count: int
    left_out: int = 0


def evaluate(scored: ScoredRequests) -> dict[str, Estimate]:
    """Computes all metrics of a split.

    - `user_auc`: mean over users of the probability that a positive of the user scores above a negative of the same
      user, over all candidates of all the user's requests; a tie counts one half. Users without a positive or without
      a negative are left out. With one positive and one negative per user this is the metric of the ATRank paper
      (arXiv 1711.06632, section "Experiments").
    - `auc`: the same over all candidates of all users. Standard error: DeLong, DeLong and Clarke-Pearson, Biometrics
      44 (1988). It assumes independent candidates, which those of one user are not, so it is rather too small;
      `paired_difference` resamples whole users instead.
    - `log_loss`: mean over real candidates of the binary cross-entropy, in nats, of sigmoid(score).
    - `ndcg@10`: mean over requests of DCG/ideal DCG with gain 1 and discount 1 / log2(1 + rank), ranks 1 to 10.
    - `mrr`: mean over requests of 1 / rank of the highest positive, ranks without limit.
    - `hit_rate@1`, `hit_rate@10`: mean over requests of the probability that a positive is the highest, or among the
      ten highest.

    The last four leave out requests without a positive. Standard errors of means are sd / sqrt(count), with count - 1
    in the variance.

    Args:
        scored: the whole split, R >= 1 with at least one real candidate.

    Returns:
        Name -> `Estimate`, in the order of `METRICS`.

    Raises:
        ValueError: if `scored` has no request or no real candidate.
    """
    _check_not_empty(scored)
    codes = user_codes(scored.users)
    per_request = _request_values(scored)
    means = {name: values for name, (values, _) in per_request.items()}
    means["log_loss"] = _log_losses(scored)
    means["user_auc"], _ = _user_aucs(scored, codes)
    requests = len(scored.users)
    totals = {"user_auc": int(codes.max()) + 1, "log_loss": len(means["log_loss"])}
    estimates = {name: mean_estimate(values, totals.get(name, requests)) for name, values in means.items()}
    estimates["auc"] = _pooled_auc(scored)
    return {name: estimates[name] for name in METRICS}


def metric_values(scored: ScoredRequests, metric: str) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Returns the values that a metric is the mean of, and the user of each.

    Args:
        scored: the split.
        metric: a name in `METRICS` but "auc", which is no mean.

    Returns:
        `(values, codes)`: float64 `[M]` and intp `[M]`, one per user, request or real candidate that counts; `codes`
        index the users in order of first appearance.
    """
    codes = user_codes(scored.users)
    if metric == "user_auc":
        return _user_aucs(scored, codes)
    if metric == "log_loss":
        return _log_losses(scored), np.broadcast_to(codes[:, None], scored.mask.shape)[scored.mask]
    values, requests = _request_values(scored)[metric]
    return values, codes[requests]


def check_metric(metric: str, metrics: Sequence[str] = METRICS) -> None:
    """Raises a ValueError with the nearest valid name if `metric` is not one of `metrics`."""
    if metric not in metrics:
        raise ValueError(f"Unknown metric {metric!r}. {suggestion(metric, metrics)}")


def user_codes(users: NDArray[Any]) -> NDArray[np.intp]:
    """Returns the index of each user in order of first appearance, intp `[R]`, 0 to U - 1."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(user, len(numbers)) for user in users.tolist()], dtype=np.intp)


def _check_not_empty(scored: ScoredRequests) -> None:
    if not scored.mask.any():
        raise ValueError(
            "scored must hold at least one real candidate. "
            f"Received: {len(scored.users)} requests, scores.shape={scored.scores.shape}, no mask is True."
        )


def mean_estimate(values: NDArray[np.float64], total: int) -> Estimate:
    """Returns the mean of values, of `total` users, requests or candidates of which some have none."""
    count = len(values)
    value = float(values.mean()) if count else math.nan
    error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Estimate(value=value, standard_error=error, count=count, left_out=total - count)


def _log_losses(scored: ScoredRequests) -> NDArray[np.float64]:
    scores = scored.scores[scored.mask].astype(np.float64)
    # -log sigmoid(x) = log(1 + exp(-x)), and logaddexp neither overflows nor loses small losses.
    losses: NDArray[np.float64] = np.logaddexp(0.0, np.where(scored.labels[scored.mask] == 1, -scores, scores))
    return losses


def _pooled_auc(scored: ScoredRequests) -> Estimate:
    positives = np.sort(scored.scores[scored.mask & (scored.labels == 1)])
    negatives = np.sort(scored.scores[scored.mask & (scored.labels == 0)])
    m, n = len(positives), len(negatives)
    if not m or not n:
        return Estimate(value=math.nan, standard_error=math.nan, count=0, left_out=m + n)
    # DeLong's structural components: the share of the other class that each candidate is ranked correctly against.
    won = _wins(positives, negatives) / n
    lost = 1.0 - _wins(negatives, positives) / m
    error = math.sqrt(won.var(ddof=1) / m + lost.var(ddof=1) / n) if min(m, n) > 1 else math.nan
    return Estimate(value=float(won.mean()), standard_error=error, count=m + n)


def _wins(scores: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Returns how many of the ascending `others` are below each score; ties count one half."""
    below, not_above = np.searchsorted(others, scores, "left"), np.searchsorted(others, scores, "right")
    return (below + not_above) / 2.0


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, width))
    return (slice(begin, begin + step) for begin in range(0, rows, step))


def _user_aucs(scored: ScoredRequests, codes: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Returns the AUC of each user with a positive and a negative, and the users' codes, ascending."""
    sizes = np.bincount(codes)
    requests = np.argsort(codes, kind="stable")
    begins = np.cumsum(sizes) - sizes
    aucs = np.full(len(sizes), np.nan)
    # Users with equally many requests make a rectangle, which sorts far faster than one long list of all candidates.
    for size in np.unique(sizes):
        users = np.flatnonzero(sizes == size)
        for block in _blocks(len(users), int(size) * scored.scores.shape[1]):
            rows = requests[begins[users[block], None] + np.arange(size)]
            scores, labels, mask = (
                part[rows].reshape(len(rows), -1) for part in (scored.scores, scored.labels, scored.mask)
            )
            aucs[users[block]] = row_aucs(tie_runs(scores, labels, mask))
    counted = np.flatnonzero(~np.isnan(aucs))
    return aucs[counted], counted


def _request_values(scored: ScoredRequests) -> dict[str, tuple[NDArray[np.float64], NDArray[np.intp]]]:
    """Returns name -> (value of each request that has a positive, index of each such request)."""
    requests = np.flatnonzero((scored.mask & (scored.labels == 1)).any(axis=1))
    names = (f"ndcg@{CUTOFF}", "mrr", "hit_rate@1", f"hit_rate@{CUTOFF}")
    values = np.empty((len(names), len(requests)))
    for block in _blocks(len(requests), scored.scores.shape[1]):
        rows = requests[block]
        runs = tie_runs(scored.scores[rows], scored.labels[rows], scored.mask[rows])
        values[0, block] = row_ndcg(runs, CUTOFF)
        values[1, block], values[2, block], values[3, block] = first_positive(runs, 1, CUTOFF)
    return {name: (row, requests) for name, row in zip(names, values, strict=True)}


@dataclasses.dataclass(frozen=True)
class TieRuns:
    """Rows of candidates in descending order of score, padding last, and the runs of equal scores in them.

    Attributes:
        positive: bool `[B, M]`, which candidates are positive, in that order.
        start: int `[B, M]`, number of candidates before a candidate's run.
        end: int `[B, M]`, the same with the run.
        positives: int `[B, M + 1]`, number of positives among the first 0, 1, ... M candidates.
        real: int `[B, 1]`, number of real candidates.
    """

    positive: NDArray[np.bool_]
    start: NDArray[np.intp]
    end: NDArray[np.intp]
    positives: NDArray[np.intp]
    real: NDArray[np.intp]


def tie_runs(scores: NDArray[Any], labels: NDArray[Any], mask: NDArray[np.bool_]) -> TieRuns:
    """Sorts rows of candidates `[B, M]` by score, and finds runs of equal scores."""
    keys = np.where(mask, -scores, np.inf)
    order = np.argsort(keys, axis=1)
    keys = np.take_along_axis(keys, order, axis=1)
    positive = np.take_along_axis(mask & (labels == 1), order, axis=1)
    places = np.arange(keys.shape[1])
    first = np.ones(keys.shape, dtype=bool)
    first[:, 1:] = keys[:, 1:] != keys[:, :-1]
    last = np.ones(keys.shape, dtype=bool)
    last[:, :-1] = first[:, 1:]
    start = np.maximum.accumulate(np.where(first, places, 0), axis=1)
    # The nearest run end to the right: a running minimum from the right.
    end = np.minimum.accumulate(np.where(last, places + 1, keys.shape[1])[:, ::-1], axis=1)[:, ::-1]
    positives = np.zeros((len(keys), keys.shape[1] + 1), dtype=np.intp)
    np.cumsum(positive, axis=1, out=positives[:, 1:])
    return TieRuns(positive, start, end, positives, mask.sum(axis=1, keepdims=True))


def row_aucs(runs: TieRuns) -> NDArray[np.float64]:
    """Returns the AUC of each row, float64 `[B]`; NaN where it has no positive or no negative."""
    before = runs.start - np.take_along_axis(runs.positives, runs.start, axis=1)
    through = runs.end - np.take_along_axis(runs.positives, runs.end, axis=1)
    positives = runs.positives[:, -1]
    negatives = runs.real[:, 0] - positives
    # A positive wins against the negatives below its run, and half of those within it.
    wins = np.where(runs.positive, negatives[:, None] - (before + through) / 2.0, 0.0).sum(axis=1)
    pairs = positives.astype(np.float64) * negatives
    aucs = np.full(len(wins), np.nan)
    np.divide(wins, pairs, out=aucs, where=pairs > 0)
    return aucs


def row_ndcg(runs: TieRuns, cutoff: int) -> NDArray[np.float64]:
    """Returns the expected NDCG of each row, float64 `[B]`; every row must have a positive."""
    ranks = np.arange(1, runs.positive.shape[1] + 1)
    discounts = np.where(ranks <= cutoff, 1.0 / np.log2(1.0 + ranks), 0.0)
    up_to = np.concatenate([[0.0], np.cumsum(discounts)])
    # In random order a candidate is equally likely at each rank of its run: it expects the run's mean discount.
    expected = (up_to[runs.end] - up_to[runs.start]) / (runs.end - runs.start)
    ndcg: NDArray[np.float64] = np.where(runs.positive, expected, 0.0).sum(axis=1) / up_to[runs.positives[:, -1]]
    return ndcg


def first_positive(runs: TieRuns, *cutoffs: int) -> list[NDArray[np.float64]]:
    """Returns the expected 1 / rank of the highest positive, and the probability that this rank is at most each cutoff.

    All are float64 `[B]`; every row must have a positive.

    The highest positive lies in the first run that holds one: a run of t candidates, p of them positives, after s
    others. In random order the first j places of the run hold no positive with probability
    (t-p)/t * (t-p-1)/(t-1) * ... * (t-p-j+1)/(t-j+1).
    """
    at = runs.positive.argmax(axis=1)[:, None]
    s = np.take_along_axis(runs.start, at, axis=1)
    t = np.take_along_axis(runs.end, at, axis=1) - s
    p = np.take_along_axis(runs.positives, s + t, axis=1) - np.take_along_axis(runs.positives, s, axis=1)
    places = np.arange(int(t.max()))
    factors = np.maximum(t - p - places, 0) / np.maximum(t - places, 1)
    none_yet = np.concatenate([np.ones(t.shape), np.cumprod(factors, axis=1)], axis=1)
    reciprocal = ((none_yet[:, :-1] - none_yet[:, 1:]) / (s + 1 + places)).sum(axis=1)
    missed = [np.take_along_axis(none_yet, np.clip(cutoff - s, 0, t), axis=1)[:, 0] for cutoff in cutoffs]
    return [reciprocal, *(1.0 - each for each in missed)]
