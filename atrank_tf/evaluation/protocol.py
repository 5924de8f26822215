"""Scoring a part of the data: by a model, and by the three baselines that any model must beat."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from atrank_tf.data import Batching, Part, Records, count_targets, popularity, positive_counts, requests
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.models import Ranker
from atrank_tf.models.traced import traced

Score = Callable[[str, dict[str, Any], np.ndarray], np.ndarray]
"""(task, inputs, users: str [B]) -> scores [B, N]."""
RECENT_PERIODS = 4
"""Of the `atrank_tf.data.PERIODS`: the last sixteenth of the training targets before a request."""


def score_model(
    model: Ranker, records: Records, part: Part | str, settings: Batching | None = None
) -> dict[str, ScoredRequests]:
    """Scores every request of a part of the data with a model.

    Returns:
        task -> scored requests; a task without a request in this part is left out.
    """
    encode = traced(model.encoder())
    scorers = {task: traced(model.scorer(task)) for task in model.tasks}

    def score(task: str, inputs: dict[str, Any], users: np.ndarray) -> np.ndarray:
        logits: np.ndarray = scorers[task]({**inputs, **encode(inputs)})[task].numpy()
        return logits

    return score_requests(score, model.tasks, records, part, settings, "model", whole_history=False)


def score_popularity(
    records: Records, part: Part | str, tasks: Sequence[str], settings: Batching | None = None
) -> dict[str, ScoredRequests]:
    """Scores a candidate by how often it was a positive of the task in training, over all users."""
    counts = {task: positive_counts(records, task) for task in tasks}

    def score(task: str, inputs: dict[str, Any], users: np.ndarray) -> np.ndarray:
        return np.log1p(counts[task][inputs[f"{task}_candidates"].numpy()])

    return score_requests(score, tasks, records, part, settings, "popularity", whole_history=False)


def score_recent_popularity(
    records: Records, part: Part | str, tasks: Sequence[str], settings: Batching | None = None
) -> dict[str, ScoredRequests]:
    """Scores a candidate by how often it was a positive of the task shortly before the request, over all users.

    "Shortly before" are the last `RECENT_PERIODS` that `atrank_tf.data.popularity` tells apart in training.
    """
    begins, reached = {}, {}
    for task in tasks:
        begins[task], counts = popularity(records, task)
        reached[task] = np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0)))

    def score(task: str, inputs: dict[str, Any], users: np.ndarray) -> np.ndarray:
        candidates = inputs[f"{task}_candidates"].numpy()
        over = np.searchsorted(begins[task], inputs["now"].numpy(), side="right")[:, np.newaxis]
        before = np.maximum(over - RECENT_PERIODS, 0)
        return np.log1p(reached[task][candidates, over] - reached[task][candidates, before])

    return score_requests(score, tasks, records, part, settings, "recent popularity", whole_history=False)


def score_repetition(
    records: Records, part: Part | str, tasks: Sequence[str], settings: Batching | None = None
) -> dict[str, ScoredRequests]:
    """Scores a candidate by how often this user acted on it before, in the task's group, in the whole history."""
    groups = {task: records.schema.tasks[task].group for task in tasks}

    def score(task: str, inputs: dict[str, Any], users: np.ndarray) -> np.ndarray:
        history, candidates = inputs[f"{groups[task]}_id"].numpy(), inputs[f"{task}_candidates"].numpy()
        counts = np.stack([(history == candidates[:, [n]]).sum(axis=1) for n in range(candidates.shape[1])], axis=1)
        return np.log1p(counts.astype(np.float64))

    return score_requests(score, tasks, records, part, settings, "repetition", whole_history=True)


BASELINES = {
    "popularity": score_popularity,
    "recent popularity": score_recent_popularity,
    "repetition": score_repetition,
}
"""Baselines by name: (records, part, tasks, settings) -> task -> scored requests."""


def score_requests(
    score: Score,
    tasks: Sequence[str],
    records: Records,
    part: Part | str,
    settings: Batching | None,
    name: str,
    whole_history: bool,
) -> dict[str, ScoredRequests]:
    found: dict[str, list[ScoredRequests]] = {task: [] for task in tasks}
    total = sum(count_targets(records, task, part, settings) for task in tasks)
    with tqdm(total=total, desc=f"{Part(part)} {name}", unit=" requests", mininterval=1.0, leave=False) as progress:
        for inputs, labels, weights, users in requests(
            records, part, tasks=tasks, settings=settings, whole_history=whole_history
        ):
            progress.update(len(users))
            names = np.char.decode(users.numpy().astype(bytes), "utf-8")
            for task in tasks:
                if labels[task].shape[1]:
                    scores = np.asarray(score(task, inputs, names), np.float64)
                    mask = weights[task].numpy() > 0
                    found[task].append(ScoredRequests(names, scores, labels[task].numpy(), mask))
    return {task: ScoredRequests.concatenate(parts) for task, parts in found.items() if parts}
