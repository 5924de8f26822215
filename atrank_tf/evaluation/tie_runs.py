"""Rankings with ties: expected values when each run of equal scores stands in random order."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class TieRuns:
    """Rows `[B, M]` in descending order of score, padding last; a run is a stretch of equal scores.

    positive: bool, the labels in that order. start, end: how many candidates lie before a candidate's run, and up to
    and with it. positives: int `[B, M + 1]`, how many positives are among the first 0, 1, ... M. real: int `[B, 1]`.
    """

    positive: NDArray[np.bool_]
    start: NDArray[np.intp]
    end: NDArray[np.intp]
    positives: NDArray[np.intp]
    real: NDArray[np.intp]


def tie_runs(scores: NDArray[Any], labels: NDArray[Any], mask: NDArray[np.bool_]) -> TieRuns:
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
    """AUC of each row, NaN where it has no positive or no negative."""
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
    """Expected NDCG of each row; a row has at least one positive."""
    ranks = np.arange(1, runs.positive.shape[1] + 1)
    discounts = np.where(ranks <= cutoff, 1.0 / np.log2(1.0 + ranks), 0.0)
    up_to = np.concatenate([[0.0], np.cumsum(discounts)])
    # In random order a candidate is equally likely at each rank of its run: it expects the run's mean discount.
    expected = (up_to[runs.end] - up_to[runs.start]) / (runs.end - runs.start)
    ndcg: NDArray[np.float64] = np.where(runs.positive, expected, 0.0).sum(axis=1) / up_to[runs.positives[:, -1]]
    return ndcg


def first_positive(runs: TieRuns, cutoff: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected 1 / rank of the highest positive, and its probability of a rank up to cutoff; rows have a positive.

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
    missed = np.take_along_axis(none_yet, np.clip(cutoff - s, 0, t), axis=1)[:, 0]
    return reciprocal, 1.0 - missed
