"""Compares two models on the same requests, by a paired bootstrap over users."""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from atrank_tf.evaluation import metrics
from atrank_tf.evaluation.catalog_ranks import CATALOG_METRICS, CatalogRanks, rank_values
from atrank_tf.evaluation.scored_requests import ScoredRequests

COMPARED = tuple(name for name in metrics.METRICS if name != "auc")
"""Metrics that are means of what users, requests or candidates have by themselves; pooled AUC is none."""
_Statistic = Callable[[NDArray[np.intp]], float]


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """Difference of a metric between two models, a minus b, on the same requests.

    Attributes:
        metric: name of the metric. A positive difference means that a is better, but for `log_loss` a negative one.
        difference: value of a minus value of b.
        standard_error: standard deviation of the resampled differences.
        confidence_interval: low and high end of the 95% percentile interval of the resampled differences.
        p_value: two-sided, for the hypothesis of no difference; at least 2 / (samples + 1), at most 1.
        users: number of users that were resampled.
    """

    metric: str
    difference: float
    standard_error: float
    confidence_interval: tuple[float, float]
    p_value: float
    users: int


def paired_difference(
    a: ScoredRequests,
    b: ScoredRequests,
    metric: str = "user_auc",
    samples: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Compares two models that scored the same requests, by a paired bootstrap over users.

    Each resample draws as many users as there are, with replacement, takes all requests of each drawn user, and
    subtracts b's metric from a's. Users are drawn, not requests or candidates, since those of one user are not
    independent. Both models are measured on the same draw, so that what makes a user hard for both cancels. Users that
    the metric leaves out are not drawn. The p-value is twice the smaller share of resamples at or beyond zero, each
    share with one added to its numerator and denominator (Davison and Hinkley, Bootstrap Methods and their Application,
    1997, chapters 4 and 5); it agrees with the percentile interval.

    Args:
        a: scores of the first model.
        b: scores of the second model, on the same requests. Their order (models that read other groups batch them
            differently) and their padding may differ from `a`.
        metric: a name in `COMPARED`.
        samples: number of resamples, at least 100.
        seed: seed of the resampling.

    Returns:
        A `PairedDifference`.

    Raises:
        ValueError: if users, mask or labels differ (names the first difference), for an unknown metric or fewer than
            100 samples, or if fewer than two users count.
    """
    metrics.check_metric(metric, COMPARED)
    a, b = _same_requests(a, b)
    values, codes = metrics.metric_values(a, metric)
    # Who counts depends on labels and mask alone, which are the same: the two lists of values match one to one.
    statistic, users = _of_mean(values - metrics.metric_values(b, metric)[0], codes)
    if users < 2:
        raise ValueError(
            f"A bootstrap over users needs at least 2 users that count for {metric!r}. "
            f"Received: {users} of {len(set(a.users.tolist()))} users."
        )
    return _bootstrap(statistic, users, metric, samples, seed)


def paired_rank_difference(
    a: CatalogRanks, b: CatalogRanks, metric: str = f"ndcg@{metrics.CUTOFF}", samples: int = 1000, seed: int = 0
) -> PairedDifference:
    """Compares two rankings of all objects for the same requests, as `paired_difference` does.

    Args:
        a: ranks by the first model.
        b: ranks by the second model. Their order may differ from `a`.
        metric: a name in `CATALOG_METRICS`.
        samples: number of resamples.
        seed: seed of the resampling.

    Raises:
        ValueError: if the requests differ or are of a single user, for an unknown metric or fewer than 100 samples.
    """
    a, b = a.in_order(), b.in_order()
    for name in ("users", "request_times", "positives", "candidates"):
        if getattr(a, name).tolist() != getattr(b, name).tolist():
            raise ValueError(
                f"a and b must hold the same requests with the same candidates. Received: other {name}, of "
                f"{len(a.users)} and {len(b.users)} requests."
            )
    codes = metrics.user_codes(a.users)
    statistic, users = _of_mean(rank_values(a, metric) - rank_values(b, metric), codes)
    if users < 2:
        raise ValueError(f"A bootstrap over users needs at least 2 users. Received: {users}.")
    return _bootstrap(statistic, users, metric, samples, seed)


def paired_rank_differences(a: CatalogRanks, b: CatalogRanks) -> dict[str, PairedDifference]:
    """Returns metric -> `paired_rank_difference`, for all metrics; nothing for a single user."""
    names = CATALOG_METRICS if len(set(a.users.tolist())) > 1 else ()
    return {name: paired_rank_difference(a, b, name) for name in names}


def _bootstrap(statistic: _Statistic, users: int, metric: str, samples: int, seed: int) -> PairedDifference:
    """Returns the difference that a statistic gives of all users, and how it varies among resamples of them."""
    if samples < 100:
        raise ValueError(f"samples must be at least 100 for a 95% interval. Received: samples={samples}.")
    difference = statistic(np.ones(users, dtype=np.intp))
    generator = np.random.default_rng(seed)
    drawn = np.empty(samples)
    for sample in range(samples):
        drawn[sample] = statistic(np.bincount(generator.integers(users, size=users), minlength=users))
    low, high = np.quantile(drawn, [0.025, 0.975])
    smaller = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return PairedDifference(
        metric=metric,
        difference=difference,
        standard_error=float(drawn.std(ddof=1)),
        confidence_interval=(float(low), float(high)),
        p_value=min(1.0, 2 * (smaller + 1) / (samples + 1)),
        users=users,
    )


def paired_differences(a: ScoredRequests, b: ScoredRequests) -> dict[str, PairedDifference]:
    """Returns metric -> `paired_difference`, for all metrics of `COMPARED` that count at least two users."""
    return {
        name: paired_difference(a, b, name)
        for name in COMPARED
        if len(np.unique(metrics.metric_values(a, name)[1])) > 1
    }


def _same_requests(a: ScoredRequests, b: ScoredRequests) -> tuple[ScoredRequests, ScoredRequests]:
    """Returns both padded to one width; raises an error that names where they first differ."""
    if len(a.users) != len(b.users):
        raise ValueError(f"a and b must hold the same requests. Received: {len(a.users)} and {len(b.users)} requests.")
    if a.users.tolist() != b.users.tolist():
        a, b = a.in_order(), b.in_order()
    # As objects, so that 1 and "1" are compared and found different instead of failing inside NumPy.
    other = np.flatnonzero(a.users.astype(object) != b.users.astype(object))
    if other.size:
        request = int(other[0])
        raise ValueError(
            "a and b must hold the same requests. "
            f"Received: users differ at {other.size} requests, the first is request {request}: "
            f"{a.users.tolist()[request]!r} and {b.users.tolist()[request]!r}."
        )
    width = max(a.scores.shape[1], b.scores.shape[1])
    a, b = a.padded_to(width), b.padded_to(width)
    _check_same(a, "mask", a.mask, b.mask, a.mask != b.mask)
    _check_same(a, "labels", a.labels, b.labels, a.mask & (a.labels != b.labels))
    return a, b


def _check_same(
    scored: ScoredRequests, name: str, ours: NDArray[np.generic], theirs: NDArray[np.generic], other: NDArray[np.bool_]
) -> None:
    if other.any():
        request, candidate = (int(index) for index in np.argwhere(other)[0])
        raise ValueError(
            f"a and b must hold the same candidates. Received: {name} differs at {int(other.sum())} places, the first "
            f"is request {request} (user {scored.users.tolist()[request]!r}), candidate {candidate}: "
            f"{ours[request, candidate]} and {theirs[request, candidate]}."
        )


def _of_mean(differences: NDArray[np.float64], codes: NDArray[np.intp]) -> tuple[_Statistic, int]:
    """Returns the mean difference as a function of how often each user was drawn, and the number of users."""
    counts = np.bincount(codes)
    counted = counts > 0
    sums = np.bincount(codes, weights=differences)[counted]
    counts = counts[counted]

    def statistic(times: NDArray[np.intp]) -> float:
        return float(times @ sums / (times @ counts))

    return statistic, len(counts)
