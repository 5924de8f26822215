"""Metrics of rankings of all objects, from the rank of one positive in each request."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrank_tf.evaluation.metrics import CUTOFF, Estimate, check_metric, mean_estimate

CATALOG_CUTOFFS = (CUTOFF, 50)
CATALOG_METRICS = (
    *(f"{name}@{cutoff}" for cutoff in CATALOG_CUTOFFS for name in ("hit_rate", "ndcg")),
    "mrr",
    "mean_rank",
)


@dataclasses.dataclass(frozen=True, eq=False)
class CatalogRanks:
    """Ranks of the positives of R requests among all candidates.

    Attributes:
        users: str [R].
        request_times: int64 [R], Unix seconds.
        positives: int64 [R], rows of the catalog.
        above: int64 [R], candidates with a higher score than the positive.
        tied: int64 [R], other candidates with an equal score.
        candidates: int64 [R], how many candidates there were, the positive too.
        left_out: number of requests besides whose positive was no candidate.
    """

    users: NDArray[np.str_]
    request_times: NDArray[np.int64]
    positives: NDArray[np.int64]
    above: NDArray[np.int64]
    tied: NDArray[np.int64]
    candidates: NDArray[np.int64]
    left_out: int = 0

    @classmethod
    def concatenate(cls, parts: Sequence["CatalogRanks"]) -> "CatalogRanks":
        """Joins parts in order."""
        names = [field.name for field in dataclasses.fields(cls) if field.name != "left_out"]
        arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**arrays, left_out=sum(part.left_out for part in parts))

    def in_order(self) -> "CatalogRanks":
        """Returns the same requests by user, time and positive, an order that does not depend on batching."""
        order = np.lexsort((self.positives, self.request_times, self.users))
        names = [field.name for field in dataclasses.fields(self) if field.name != "left_out"]
        return dataclasses.replace(self, **{name: getattr(self, name)[order] for name in names})


def evaluate_ranks(ranks: CatalogRanks) -> dict[str, Estimate]:
    """Computes all metrics of a split whose candidates are all objects.

    - `hit_rate@10`, `hit_rate@50`: share of requests whose positive is among the 10 or 50 highest. With one positive
      for each request this is also recall.
    - `ndcg@10`, `ndcg@50`: mean of 1 / log2(1 + rank); 0 beyond.
    - `mrr`: mean of 1 / rank, ranks without limit.
    - `mean_rank`: mean of the rank, 1 is the best.

    A positive that ties with others has each rank of the tie with equal probability, and metrics are the expectation.
    Standard errors are sd / sqrt(R), with R - 1 in the variance.

    Returns:
        Name -> `Estimate`, in the order of `CATALOG_METRICS`; `count` is R.
    """
    total = len(ranks.users) + ranks.left_out
    return {name: mean_estimate(rank_values(ranks, name), total) for name in CATALOG_METRICS}


def rank_values(ranks: CatalogRanks, metric: str) -> NDArray[np.float64]:
    """Returns the expected value of a metric for each request, float64 [R].

    Args:
        ranks: the requests.
        metric: a name in `CATALOG_METRICS`.

    Raises:
        ValueError: an unknown metric; names the nearest.
    """
    check_metric(metric, CATALOG_METRICS)
    name, _, cutoff = metric.partition("@")
    first, last = ranks.above, ranks.above + ranks.tied + 1  # The ranks are first + 1 to last.
    if name == "mean_rank":
        return (first + 1 + last) / 2.0
    values = 1.0 / np.arange(1, int(last.max(initial=1)) + 1)
    if name == "hit_rate":
        values = np.ones_like(values)
    elif name == "ndcg":
        values = 1.0 / np.log2(1.0 + 1.0 / values)
    if cutoff:
        values[int(cutoff) :] = 0.0
    up_to = np.concatenate([[0.0], np.cumsum(values)])
    found: NDArray[np.float64] = (up_to[last] - up_to[first]) / (last - first)
    return found
