"""Kinds of requests are those that the logs tell, their numbers are those of the requests, and little is held."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from atrank_tf.data import Records
from atrank_tf.evaluation import AskedRequests, RequestMeasures, ScoredRequests, score_baselines, score_requests
from atrank_tf.evaluation.calibration import Calibration
from atrank_tf.evaluation.metrics import first_positive, row_aucs, tie_runs
from atrank_tf.evaluation.request_measures import SHOWN_REQUESTS
from atrank_tf.evaluation.slices import CATEGORY, HISTORY, OBJECTS, REPEAT, TIME, USERS, Slice, best_rule
from atrank_tf.experiment import Batching

TASKS, DAY = ["next_purchase", "next_redemption"], 86_400
VALIDATION = 59 * DAY
"""`validation_from` of the schema."""


def _noise(task: str, inputs: Mapping[str, Any], users: np.ndarray) -> np.ndarray:
    """Scores that nothing is to be learned from."""
    scores: np.ndarray = np.sin(inputs[f"{task}__candidates"].numpy() * 7.0 + inputs["now"].numpy()[:, np.newaxis])
    return scores


class Measured(NamedTuple):
    asked: AskedRequests
    scored: dict[str, ScoredRequests]
    rules: dict[str, dict[str, ScoredRequests]]
    measures: RequestMeasures


@pytest.fixture(scope="module")
def measured(records: Records) -> Measured:
    asked, settings = AskedRequests(), Batching(evaluation_batch_size=13)
    scored = score_requests({"mine": _noise}, TASKS, records, "test", settings, watch=asked)["mine"]
    measures = RequestMeasures(records, {"mine": scored})
    rules = score_baselines(records, "test", TASKS, settings, watch=measures)
    return Measured(asked, scored, rules, measures)


def _aucs(scored: ScoredRequests) -> np.ndarray:
    return row_aucs(tie_runs(scored.scores, scored.labels, scored.mask))


@pytest.mark.parametrize("task", TASKS)
def test_the_mean_over_all_kinds_is_that_of_all_requests(measured: Measured, task: str) -> None:
    found = measured.measures.slices[task].found()
    for ranker, scored in {"mine": measured.scored, **measured.rules}.items():
        aucs = _aucs(scored[task])
        counted = ~np.isnan(aucs)
        runs = tie_runs(*(getattr(scored[task], name)[counted] for name in ("scores", "labels", "mask")))
        mrr = first_positive(runs, 1)[0].mean()
        for slices in found.values():
            total = sum(each.count for each in slices)
            assert total == counted.sum()
            for metric, expected in (("auc", aucs[counted].mean()), ("mrr", mrr)):
                mean = sum(each.count * each.means[ranker][metric].value for each in slices) / total
                assert mean == pytest.approx(expected)
            difference = sum(each.count * each.differences[ranker]["auc"].value for each in slices) / total
            own = _aucs(measured.scored[task])[counted].mean()
            assert difference == pytest.approx(own - aucs[counted].mean())


class Request(NamedTuple):
    """A request for a product as the logs tell it."""

    user: str
    now: int
    product: str
    auc: float


def _kinds(request: Request, purchases: Any, redemptions: Any, categories: Mapping[str, str]) -> dict[str, str]:
    def label(count: int) -> str:
        return "none" if not count else "1 to 9" if count < 10 else "10 to 99"

    before = [row for row in purchases if row["user_id"] == request.user and row["timestamp"] < request.now]
    redeemed = [row for row in redemptions if row["user_id"] == request.user and row["timestamp"] < request.now]
    chosen = {row["product_id"] for row in before}
    known = [row for row in purchases if row["product_id"] == request.product and row["timestamp"] < VALIDATION]
    trained = any(row["timestamp"] < VALIDATION for row in (*before, *redeemed))
    return {
        OBJECTS: label(len(known)),
        USERS: "known" if trained else "new: nothing in training",
        HISTORY: label(len(before) + len(redeemed)),
        REPEAT: "chose it" if request.product in chosen else "nothing with it",
        f"{CATEGORY}category": categories[request.product],
    }


def test_kinds_are_those_that_the_logs_tell(measured: Measured, records: Records, logs: Path) -> None:
    purchases = pl.read_csv(logs / "behaviors/purchase.csv").unique().to_dicts()
    redemptions = pl.read_parquet(logs / "behaviors/redemption.parquet").unique().to_dicts()
    categories = dict(pl.read_csv(logs / "catalog/product.csv").select("product_id", "category").iter_rows())
    scored = measured.scored["next_purchase"]
    rows = measured.asked.rows(records, "next_purchase", scored).filter(label=1)
    aucs = _aucs(scored)[rows["place"].to_numpy() // scored.scores.shape[1]]
    positives = rows.select("user_id", "timestamp", "candidate").rows()
    asked = [Request(*row, auc) for row, auc in zip(positives, aucs, strict=True)]
    told: dict[str, dict[str, list[float]]] = {}
    for request in asked:
        for kind, label in _kinds(request, purchases, redemptions, categories).items():
            told.setdefault(kind, {}).setdefault(label, []).append(request.auc)
    found = measured.measures.slices["next_purchase"].found()
    assert {kind for kind, labels in told.items() if len(labels) > 1} == set(found) - {TIME}
    for kind, slices in found.items():
        if kind != TIME:
            assert {each.label: each.count for each in slices} == {k: len(v) for k, v in told[kind].items()}
            for each in slices:
                values = np.array(told[kind][each.label])
                auc = each.means["mine"]["auc"]
                assert auc.value == pytest.approx(values.mean())
                error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
                assert auc.standard_error == pytest.approx(error, nan_ok=True)


def test_periods_are_whole_days_in_order(measured: Measured) -> None:
    periods = measured.measures.slices["next_purchase"].found()[TIME]
    begins = [each.label.split(" to ")[0] for each in periods]
    assert begins == sorted(begins) and begins[0] == "1970-03-15" and 2 <= len(periods) <= 10


def test_what_is_held_does_not_grow_with_the_requests(measured: Measured, records: Records) -> None:
    measures = RequestMeasures(records, {"mine": measured.scored})
    settings = Batching(evaluation_batch_size=13)
    for _ in range(2):
        score_baselines(records, "test", TASKS, settings, watch=measures)
        measures._begins = dict.fromkeys(TASKS, 0)
    for task in TASKS:
        once, twice = measured.measures.slices[task].found(), measures.slices[task].found()
        assert list(once) == list(twice)
        for kind, slices in once.items():
            assert [(each.label, 2 * each.count) for each in slices] == [(e.label, e.count) for e in twice[kind]]
        assert len(measures.extremes[task].worst) <= SHOWN_REQUESTS


def test_requests_in_another_order_are_refused(measured: Measured, records: Records) -> None:
    measures = RequestMeasures(records, {"mine": measured.scored})
    with pytest.raises(ValueError, match=r"of next_purchase in the order in which they were scored\. Found others"):
        score_baselines(records, "validation", TASKS, Batching(), watch=measures)


def _surprises(scored: ScoredRequests) -> np.ndarray:
    weights = np.where(scored.mask, np.exp(np.where(scored.mask, scored.scores, 0.0)), 0.0)
    chosen = scored.mask & (scored.labels == 1)
    both = chosen.any(axis=1) & (scored.mask & ~chosen).any(axis=1)
    with np.errstate(divide="ignore"):
        found: np.ndarray = -np.log(np.where(chosen, weights, 0.0).sum(axis=1) / weights.sum(axis=1))
    return np.where(both, found, np.nan)


@pytest.mark.parametrize("task", TASKS)
def test_the_worst_and_the_best_requests_are_kept_one_of_each_user(measured: Measured, task: str) -> None:
    scored, extremes = measured.scored[task], measured.measures.extremes[task]
    surprises = _surprises(scored)
    by_user = pl.DataFrame({"user": scored.users, "surprise": surprises}).filter(pl.col("surprise").is_not_nan())
    for kept, descending in ((extremes.worst, True), (extremes.best, False)):
        of_users = by_user.group_by("user").agg(pl.col("surprise").max() if descending else pl.col("surprise").min())
        expected = of_users.sort("surprise", descending=descending)["surprise"][:SHOWN_REQUESTS].to_list()
        assert [request.surprise for request in kept] == pytest.approx(expected)
        assert len({request.user for request in kept}) == len(kept) == SHOWN_REQUESTS
        for request in kept:
            assert (np.diff(request.scores) <= 0).all() and request.chosen.any() and not request.chosen.all()
            times = [behavior.timestamp for behavior in request.newest]
            assert times == sorted(times, reverse=True) and all(time < request.now for time in times)
            assert len(times) == min(request.behaviors, 5)


def test_calibration_is_told_by_predicted_probability() -> None:
    calibration = Calibration()
    for probability, share in ((0.2, 0.3), (0.8, 0.8), (0.2, 0.3)):
        logits = np.full(1_000, math.log(probability / (1 - probability)))
        calibration.add(logits, np.arange(1_000) < 1_000 * share)
    low, high = calibration.points()
    assert low == pytest.approx((0.2, 0.3, 2_000)) and high == pytest.approx((0.8, 0.8, 1_000))
    assert Calibration().points() == []


def test_scores_beyond_any_probability_do_not_overflow() -> None:
    calibration = Calibration()
    calibration.add(np.array([-1e30, 1e30, 0.0], np.float32), np.array([False, True, True]))
    assert sum(point.candidates for point in calibration.points()) == 3


def test_the_best_rule_is_that_of_the_highest_mean(measured: Measured) -> None:
    found = measured.measures.slices["next_purchase"].found()
    rules = list(measured.rules)
    means = {rule: np.nanmean(_aucs(measured.rules[rule]["next_purchase"])) for rule in rules}
    assert best_rule(found, rules) == max(rules, key=lambda rule: means[rule])
    nothing: dict[str, list[Slice]] = {}
    assert best_rule(nothing, rules) == best_rule(found, []) == ""
