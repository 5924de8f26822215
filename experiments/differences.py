"""Differences between runs on the same test requests: in average user AUC or, of the whole catalog, in NDCG@10."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from plan import Comparison, Run

from atrank_tf.evaluation import (
    CatalogRanks,
    PairedDifference,
    ScoredRequests,
    paired_difference,
    paired_rank_difference,
)

Results = dict[Run, dict[str, Any]]


def add_differences(build: Path, done: Results, plan: Mapping[str, Comparison]) -> None:
    """Adds to each result the model that it is compared with, and by task the difference to its run of the same seed.

    The keys are `compared_with` and `against`. When all seeds of a model are done, the difference of their means is
    tested too.
    """
    for run, result in done.items():
        other = run.compared_with(plan)
        compared = other != run and other in done
        result["against"] = _differences(build, run, other, done, plan) if compared else {}
        result["compared_with"] = other.model
    for name, comparison in plan.items():
        for model in comparison.models:
            runs = [Run(name, model, seed) for seed in comparison.seeds]
            if len(runs) > 1 and done.keys() >= set(runs):
                _test_means(build, {run: done[run] for run in runs}, plan)


def _differences(
    build: Path, run: Run, other: Run, done: Results, plan: Mapping[str, Comparison]
) -> dict[str, dict[str, Any]]:
    """Returns differences by task; none for a task whose requests differ, and none at all if the records differ.

    Records differ if the schema or the logs have changed between the two runs. (Models of other schemas always have
    other records.)
    """
    if run.records(plan) == other.records(plan) and not _same_records((done[run], done[other])):
        return {}
    found = {}
    for task in sorted(done[run]["test"].keys() & done[other]["test"].keys()):
        try:
            pair = _paired(build, [run], [other], task, plan)
        except ValueError:  # Other requests.
            continue
        names = ("difference", "standard_error", "p_value")
        found[task] = {name: float(getattr(pair, name)) for name in names}
    return found


def _same_records(results: Iterable[Mapping[str, Any]]) -> bool:
    """Returns whether all records with a known fingerprint are the same; runs of before 2026-11-27 have none."""
    return len({result["records"] for result in results if "records" in result}) <= 1


def _test_means(build: Path, results: Results, plan: Mapping[str, Comparison]) -> None:
    """Adds to the differences of a model's seeds the p of the difference of the users' means over the seeds."""
    if not _same_records(results.values()):
        return
    for task in set.intersection(*(set(result["against"]) for result in results.values())):
        pair = _paired(build, list(results), [run.compared_with(plan) for run in results], task, plan)
        for result in results.values():
            result["against"][task] |= {"p_of_means": pair.p_value, "seeds": len(results)}


def _paired(
    build: Path, runs: Sequence[Run], others: Sequence[Run], task: str, plan: Mapping[str, Comparison]
) -> PairedDifference:
    """Returns the difference of the means of runs, of one seed each, to those of others.

    Raises:
        ValueError: the requests differ.
    """
    if plan[runs[0].comparison].ranks_catalog:
        return paired_rank_difference(*(_all_ranks(build, each, task) for each in (runs, others)))
    return paired_difference(*(_all_seeds(build, each, task) for each in (runs, others)))


def _all_ranks(build: Path, runs: Iterable[Run], task: str) -> CatalogRanks:
    """Concatenates the requests of all seeds: each user is drawn with those of every seed."""
    parts = []
    for run in runs:
        with np.load(build / run.folder / f"ranks_test_{task}.npz") as arrays:
            found = {name: arrays[name] for name in arrays.files}
        parts.append(CatalogRanks(**found | {"left_out": int(found["left_out"])}))
    return CatalogRanks.concatenate(parts)


def _all_seeds(build: Path, runs: Iterable[Run], task: str) -> ScoredRequests:
    """Concatenates the requests of all seeds, with every score of a seed above those of the seed before.

    A user's AUC over all of them is a constant and, divided by the number of seeds, their mean over the seeds: pairs
    across seeds are won or lost alike by every model. So the p of a difference is that of the means.
    """
    parts, top = [], 0.0
    for run in runs:
        scored = _scores(build, run, task)
        scores = scored.scores.astype(np.float64)
        scores += top + 1 - scores[scored.mask].min()
        top = scores[scored.mask].max()
        parts.append(replace(scored, scores=scores))
    return ScoredRequests.concatenate(parts)


def _scores(build: Path, run: Run, task: str) -> ScoredRequests:
    with np.load(build / run.folder / f"scores_test_{task}.npz") as arrays:
        return ScoredRequests(**arrays)
