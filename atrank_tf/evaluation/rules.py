"""Rules of thumb that rank candidates without a training."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrank_tf.data import Records, chosen, popularity, positive_counts
from atrank_tf.data.popularity import PERIODS
from atrank_tf.schema import PADDING, Schema
from atrank_tf.schema.inputs import context_name, history_name

RECENT_PERIODS = PERIODS // 16
"""Number of `atrank_tf.data.PERIODS` before a request that are recent: a sixteenth of what `popularity` counts."""
_DAY = 86400

CandidateScores = Callable[[NDArray[np.int64]], NDArray[Any]]
"""Function (candidates [B, N]) -> scores [B, N], of the requests of one batch."""
Rule = Callable[[str, Mapping[str, Any]], CandidateScores]
"""Function (task, inputs with whole histories) -> the scores of candidates."""


def rules_of_thumb(records: Records, tasks: Sequence[str]) -> dict[str, Rule]:
    """Returns the rules by name.

    | rule | score of a candidate |
    |---|---|
    | popularity | log(1 + count) of training targets of the task, over all users, that it is a positive of |
    | recent popularity | the same of all that `popularity` counts, in the last `RECENT_PERIODS` before the request |
    | repetition | log(1 + count) of this user's behaviors on it in the task's group |
    | frequency | the same, in all groups of the task's entity |
    | recency | 1 / (1 + days since this user's last behavior on it in any group of the entity); 0 where there is none |

    Args:
        records: a records folder.
        tasks: the tasks.
    """
    schema = records.schema
    own = {task: [schema.tasks[task].group] for task in tasks}
    entities = {task: schema.entity_of(task) for task in tasks}
    every = {task: [name for name, group in schema.groups.items() if group.entity == entities[task]] for task in tasks}
    counted = popularity(records, [(entities[task], partial(chosen, task=task)) for task in tasks])
    begins = {task: each.begins for task, each in zip(tasks, counted, strict=True)}
    sums = (np.pad(np.cumsum(each.counts, axis=1), ((0, 0), (1, 0))) for each in counted)
    until = dict(zip(tasks, sums, strict=True))
    ever = {task: np.log1p(positive_counts(records, task)) for task in tasks}

    def by_popularity(task: str, inputs: Mapping[str, Any]) -> CandidateScores:
        return lambda candidates: ever[task][candidates]

    def by_recent_popularity(task: str, inputs: Mapping[str, Any]) -> CandidateScores:
        over = np.searchsorted(begins[task], np.asarray(inputs["now"]), side="right")[:, np.newaxis]
        before = np.maximum(over - RECENT_PERIODS, 0)
        return lambda candidates: np.log1p(until[task][candidates, over] - until[task][candidates, before])

    def by_repetition(task: str, inputs: Mapping[str, Any]) -> CandidateScores:
        return _of_objects(_histories(inputs, own[task]), _log_count)

    def by_frequency(task: str, inputs: Mapping[str, Any]) -> CandidateScores:
        return _of_objects(_histories(inputs, every[task]), _log_count)

    def by_recency(task: str, inputs: Mapping[str, Any]) -> CandidateScores:
        return _of_objects(_histories(inputs, every[task]), _nearness)

    return {
        "popularity": by_popularity,
        "recent popularity": by_recent_popularity,
        "repetition": by_repetition,
        "frequency": by_frequency,
        "recency": by_recency,
    }


def list_rules(schema: Schema, tasks: Sequence[str], recency: Rule) -> dict[str, Rule]:
    """Returns the rules by name for tasks whose candidates have a position in the list that was shown.

    | rule | score of a candidate |
    |---|---|
    | position | the higher it was shown, the higher |
    | last done, else position | first the candidate of this user's last behavior in any group of the entity |

    Args:
        schema: a prepared schema.
        tasks: the tasks; those without a position are not to be scored by these rules.
        recency: the rule of that name.
    """
    if not any(schema.tasks[task].position for task in tasks):
        return {}

    def by_position(task: str, inputs: Mapping[str, Any]) -> CandidateScores:
        column = schema.tasks[task].position
        return lambda candidates: -np.nan_to_num(inputs[context_name(task, column)], nan=np.inf)

    def by_last(task: str, inputs: Mapping[str, Any]) -> CandidateScores:
        near, high = recency(task, inputs), by_position(task, inputs)

        def scores(candidates: NDArray[np.int64]) -> NDArray[np.float64]:
            nearness = near(candidates)
            last = (nearness > 0) & (nearness == nearness.max(axis=1, keepdims=True))
            return np.where(last, 1.0, high(candidates))  # A position is 0 at least.

        return scores

    return {"position": by_position, "last done, else position": by_last}


def _log_count(counts: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.log1p(counts.astype(np.float64))


def _nearness(counts: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.float64]:
    return _DAY / (_DAY + ages.astype(np.float64))


def _histories(inputs: Mapping[str, Any], groups: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the objects of the histories of some groups and the seconds since then, int64 [B, T] each."""
    ids, timestamps = (
        np.concatenate([np.asarray(inputs[history_name(group, column)]) for group in groups], axis=1)
        for column in ("id", "timestamp")
    )
    return ids, np.asarray(inputs["now"])[:, np.newaxis] - timestamps


def _of_objects(
    history: tuple[NDArray[np.int64], NDArray[np.int64]],
    score: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]],
) -> CandidateScores:
    """Returns the scores that objects have by a user's own behaviors on them; 0 for objects without any.

    Args:
        history: objects and ages of the behaviors, int64 [B, T] each.
        score: a function (number of behaviors, age of the last one) -> score, of each user's different objects.
    """
    ids, ages = history
    span = int(ids.max(initial=0)) + 1
    users = np.arange(len(ids))[:, np.newaxis]
    real = ids != PADDING
    keys, ages = (users * span + ids)[real], ages[real]
    order = np.lexsort((ages, keys))
    keys, first, counts = np.unique(keys[order], return_index=True, return_counts=True)
    # One entry more, which no key reaches, so that there is always a next one.
    keys, scores = np.append(keys, len(ids) * span), np.append(score(counts, ages[order][first]), 0.0)

    def of_candidates(candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        asked = np.where(candidates < span, users * span + candidates, -1)
        places = np.searchsorted(keys, asked)
        return np.where(keys[places] == asked, scores[places], 0.0)

    return of_candidates
