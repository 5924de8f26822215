"""Ranks all objects of the catalog for each request, by a model and by rules of thumb.

Of the scores nothing is kept but how many are above that of the positive, and how many equal it. They are computed for
some thousands of pairs of a request and an object at a time, so memory grows neither with requests nor with objects.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atrank_tf.data import CatalogRequests, Part, Records, catalog_requests, count_targets
from atrank_tf.data.affinity import Affinity, records_affinity
from atrank_tf.evaluation.catalog_ranks import CatalogRanks
from atrank_tf.evaluation.rules import CandidateScores, Rule, rules_of_thumb
from atrank_tf.experiment import Batching
from atrank_tf.models import Ranker
from atrank_tf.models.candidate_tables import precomputed_candidates
from atrank_tf.models.inputs import traced
from atrank_tf.progress import progress
from atrank_tf.schema import FIRST_ROW, Candidates, Schema
from atrank_tf.schema.inputs import affinity_name, candidates_name, history_name
from atrank_tf.types import Tensor

TIE = 2e-6
"""Relative difference up to which two float32 scores are tied; below 1 it is absolute."""
_PAIRS_AT_ONCE = 1 << 14
_THREADS = min(4, os.cpu_count() or 1)
"""Chunks of objects that are scored at a time: what in one of them is not parallel runs beside another."""

_Traced = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


def rank_catalog(
    model: Ranker,
    records: Records,
    part: Part | str,
    settings: Batching | None = None,
    *,
    exclude_history: bool = False,
) -> dict[str, CatalogRanks]:
    """Ranks all objects for each request of a part of the data with a model.

    What else the user chose in the very second of a request is neither right nor wrong, and so no candidate.

    Args:
        model: a model.
        records: a records folder, of the groups that the model reads.
        part: validation or test.
        settings: sizes.
        exclude_history: whether objects of the history, in the task's own group, are no candidates either: for a
            recommender of what is new to the user. A request whose positive is in the history is left out.

    Returns:
        task -> ranks; without `tasks_of_lists` and tasks that have no request in this part.

    Raises:
        ValueError: a score is not finite.
    """
    found: dict[str, CatalogRanks] = {}
    with precomputed_candidates(model, popularity=True):
        encode = traced(model.encoder())
        scorers = {task: traced(model.scorer(task)) for task in _ranked(records.schema, model.tasks)}
    for task, scorer in scorers.items():
        affinity = records_affinity(records, task)
        scores = {
            task: partial(_scores_of_model, task, encode, scorer, _TracedAffinity(affinity) if affinity else None)
        }
        found |= _rank(scores, records, task, part, settings, exclude_history)
    return found


def rank_catalog_by_rules(
    records: Records,
    part: Part | str,
    tasks: Sequence[str],
    settings: Batching | None = None,
    *,
    exclude_history: bool = False,
) -> dict[str, dict[str, CatalogRanks]]:
    """Ranks all objects for each request of a part of the data by each of the `rules_of_thumb`, as `rank_catalog` does.

    Returns:
        rule -> task -> ranks.
    """
    rules = rules_of_thumb(records, tasks)
    found: dict[str, dict[str, CatalogRanks]] = {name: {} for name in rules}
    for task in _ranked(records.schema, tasks):
        scores = {name: partial(_scores_of_rule, task, rule) for name, rule in rules.items()}
        for name, ranks in _rank(scores, records, task, part, settings, exclude_history).items():
            found[name][task] = ranks
    return found


def tasks_of_lists(schema: Schema, tasks: Sequence[str]) -> list[str]:
    """Returns the tasks whose candidates are impressions.

    For them a catalog cannot be ranked: only what was shown has a label, and the context of having been shown.
    """
    return [task for task in tasks if schema.tasks[task].candidates is Candidates.IMPRESSIONS]


def scorer_inputs(
    task: str,
    requests: CatalogRequests,
    memory: Mapping[str, Tensor],
    affinity: Callable[[Tensor], Tensor] | None,
    candidates: NDArray[np.int64],
) -> dict[str, Tensor]:
    """Returns the inputs with which a model's scorer scores a chunk of candidates, int64 [B, N].

    Candidates that are the same for all requests, [1, N], stay one row: what a model computes of candidates alone, it
    then computes once for all requests.
    """
    ids = tf.constant(candidates)
    known = {affinity_name(task): affinity(ids)} if affinity else {}
    return {**requests.inputs, **memory, candidates_name(task): ids, **known}


class _TracedAffinity:
    """Affinity of chunks of candidates, by keys that are sorted once for all chunks; as graphs traced once."""

    def __init__(self, affinity: Affinity) -> None:
        self._keys = tf.function(affinity.keys_of_inputs, reduce_retracing=True, autograph=False)
        self._features = tf.function(affinity.features, reduce_retracing=True, autograph=False)

    def of(self, requests: CatalogRequests) -> Callable[[Tensor], Tensor]:
        """Returns a function: candidates int64 [B, N] or [1, N] -> affinity float32 [B, N, F]."""
        keys, now = self._keys(requests.whole), requests.whole["now"]
        users = tf.range(tf.size(now, tf.int64), dtype=tf.int64)
        return lambda candidates: self._features(
            keys, users, tf.broadcast_to(candidates, (len(users), candidates.shape[1])), now
        )


def _ranked(schema: Schema, tasks: Sequence[str]) -> list[str]:
    shown = tasks_of_lists(schema, tasks)
    return [task for task in tasks if task not in shown]


def _scores_of_model(
    task: str, encode: _Traced, scorer: _Traced, affinity: _TracedAffinity | None, requests: CatalogRequests
) -> CandidateScores:
    memory = _without_gaps(encode(requests.inputs))
    counted = affinity.of(requests) if affinity else None
    return lambda candidates: scorer(scorer_inputs(task, requests, memory, counted, candidates))[task].numpy()


def _without_gaps(memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns memories whose padding between groups is gone, in the same order: every candidate would read it."""
    mask = memory["mask"]
    longest = tf.maximum(tf.reduce_max(tf.math.count_nonzero(mask, axis=1)), 1)
    order = tf.argsort(tf.cast(mask, tf.int32), axis=1, direction="DESCENDING", stable=True)[:, :longest]
    return {name: tf.gather(of_behaviors, order, batch_dims=1) for name, of_behaviors in memory.items()}


def _scores_of_rule(task: str, rule: Rule, requests: CatalogRequests) -> CandidateScores:
    scores, count = rule(task, requests.whole), len(requests.positive)
    return lambda candidates: scores(np.broadcast_to(candidates, (count, candidates.shape[1])))


def _rank(
    scores: Mapping[str, Callable[[CatalogRequests], CandidateScores]],
    records: Records,
    task: str,
    part: Part | str,
    settings: Batching | None,
    exclude_history: bool,
) -> dict[str, CatalogRanks]:
    """Returns name -> ranks by each of `scores`, in one pass; nothing if there is no request."""
    group = records.schema.tasks[task].group
    rows = records.schema.entities[records.schema.entity_of(task)].rows
    found: dict[str, list[CatalogRanks]] = {name: [] for name in scores}
    total = count_targets(records, task, part, settings)
    title = f"{Part(part)} catalog, {', '.join(scores)}"
    with (
        ThreadPoolExecutor(_THREADS) as threads,
        progress(title, "requests", total) as shown,
    ):
        for requests in catalog_requests(records, task, part, settings):
            positive = requests.positive.numpy()[:, np.newaxis]
            history = requests.whole[history_name(group, "id")].numpy()
            ranked = positive[:, 0] >= FIRST_ROW  # An unknown object has no row of its own.
            barred = _pairs(np.concatenate([positive, requests.same_moment.numpy()], axis=1))
            if exclude_history:
                ranked &= ~(history == positive).any(axis=1)
                barred = np.concatenate([barred, _pairs(history)], axis=1)
            barred = np.unique(barred[:, barred[0] >= FIRST_ROW], axis=1)  # Ascending by object.
            others = rows - FIRST_ROW - np.bincount(barred[1], minlength=len(positive))
            for name, of_requests in scores.items():
                counts = _count(of_requests(requests), positive, barred, rows, f"{name}, {task}", threads)
                found[name].append(_ranks(requests, *counts, others + 1, ranked))
            shown.update(len(positive))
    return {name: CatalogRanks.concatenate(parts) for name, parts in found.items() if parts}


def _pairs(objects: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns (object, request) of objects of requests, [B, N] -> [2, B * N]."""
    requests = np.broadcast_to(np.arange(len(objects))[:, np.newaxis], objects.shape)
    return np.stack([objects, requests]).reshape(2, -1)


def _ranks(
    requests: CatalogRequests,
    above: NDArray[np.int64],
    tied: NDArray[np.int64],
    candidates: NDArray[np.int64],
    ranked: NDArray[np.bool_],
) -> CatalogRanks:
    users = np.char.decode(requests.users.numpy().astype(bytes), "utf-8")
    return CatalogRanks(
        users=users[ranked],
        request_times=requests.inputs["now"].numpy()[ranked],
        positives=requests.positive.numpy()[ranked],
        above=above[ranked],
        tied=tied[ranked],
        candidates=candidates[ranked],
        left_out=int((~ranked).sum()),
    )


def _count(
    scores: CandidateScores,
    positive: NDArray[np.int64],
    barred: NDArray[np.int64],
    rows: int,
    name: str,
    threads: ThreadPoolExecutor,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts the objects that score higher than the positive of each request, and those that score the same.

    Args:
        scores: of the candidates of B requests, int64 [B, N], or [1, N] for the same ones of all.
        positive: int64 [B, 1].
        barred: objects that do not count, int64 [2, P]: pairs (object, request), ascending by object.
        rows: of the catalog.
        name: of the scores, for errors.
        threads: what scores the chunks.

    Returns:
        Two arrays, int64 [B].
    """
    width = max(1, _PAIRS_AT_ONCE // len(positive))

    def finite(candidates: NDArray[np.int64]) -> NDArray[np.floating]:
        found = scores(candidates)
        if not np.isfinite(found).all():
            raise ValueError(
                f"Expected finite scores of all objects. Found {int((~np.isfinite(found)).sum())} others among "
                f"{found.size}, by {name}."
            )
        return found

    own = finite(positive)

    def count(start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = finite(np.arange(start, min(start + width, rows))[np.newaxis])
        first, last = np.searchsorted(barred[0], [start, start + width])
        counts = np.ones(found.shape, bool)
        counts[barred[1, first:last], barred[0, first:last] - start] = False
        tied = found == own
        if found.dtype == np.float32:  # Equal objects may differ in the last bits, by where they stand in a batch.
            tied |= np.abs(found - own) <= TIE * np.maximum(1, np.abs(own))
        return ((found > own) & ~tied & counts).sum(axis=1), (tied & counts).sum(axis=1)

    parts = list(threads.map(count, range(FIRST_ROW, rows, width)))
    counted = np.array(parts, np.int64).sum(axis=0)  # [2, B]
    return counted[0], counted[1]
