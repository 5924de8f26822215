"""Scores the requests of a part of the data, by a model and by rules of thumb."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from atrank_tf.data import Part, Records, count_targets, requests
from atrank_tf.evaluation.rules import Rule, list_rules, rules_of_thumb
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.experiment import Batching
from atrank_tf.models import Ranker
from atrank_tf.models.inputs import traced
from atrank_tf.progress import progress
from atrank_tf.schema.inputs import candidates_name

Score = Callable[[str, dict[str, Any], np.ndarray], np.ndarray | None]
"""Function (task, inputs as batches have them, users: str [B]) -> scores [B, N], any on padding; None: not scored."""
Watch = Callable[[str, dict[str, Any], Mapping[str, ScoredRequests]], None]
"""Function (task, inputs as batches have them, name -> scores of this batch), called for each batch of a pass."""


def score_model(
    model: Ranker, records: Records, part: Part | str, settings: Batching | None = None, *, watch: Watch | None = None
) -> dict[str, ScoredRequests]:
    """Scores every request of a part of the data with a model; the arguments are those of `score_requests`.

    Returns:
        task -> scored requests; a task without a request in this part is left out.
    """
    encode = traced(model.encoder())
    scorers = {task: traced(model.scorer(task)) for task in model.tasks}

    def score(task: str, inputs: dict[str, Any], users: np.ndarray) -> np.ndarray:
        logits: np.ndarray = scorers[task]({**inputs, **encode(inputs)})[task].numpy()
        return logits

    return score_requests({"model": score}, model.tasks, records, part, settings, watch=watch)["model"]


def score_baselines(
    records: Records,
    part: Part | str,
    tasks: Sequence[str],
    settings: Batching | None = None,
    *,
    watch: Watch | None = None,
) -> dict[str, dict[str, ScoredRequests]]:
    """Scores every request of a part of the data by each of the `rules_of_thumb` and `list_rules`, in one pass.

    The arguments are those of `score_requests`; what `watch` is shown has whole histories.

    Returns:
        rule -> task -> scored requests; a task without a request in this part is left out, and by `list_rules` one
        without positions.
    """
    records = records.select([], affinity=False)
    rules = rules_of_thumb(records, tasks)
    lists = list_rules(records.schema, tasks, rules["recency"])
    ordered = [task for task in tasks if records.schema.tasks[task].position]
    every = (rules | lists).items()
    scores = {name: partial(_by_rule, rule, ordered if name in lists else tasks) for name, rule in every}
    return score_requests(scores, tasks, records, part, settings, whole_history=True, watch=watch)


def _by_rule(
    rule: Rule, tasks: Sequence[str], task: str, inputs: dict[str, Any], users: np.ndarray
) -> np.ndarray | None:
    return rule(task, inputs)(inputs[candidates_name(task)].numpy()) if task in tasks else None


def score_requests(
    scores: Mapping[str, Score],
    tasks: Sequence[str],
    records: Records,
    part: Part | str,
    settings: Batching | None = None,
    *,
    whole_history: bool = False,
    watch: Watch | None = None,
) -> dict[str, dict[str, ScoredRequests]]:
    """Scores the same requests, all of a part of the data, with each of several rankers, in one pass.

    Args:
        scores: name -> function (task, inputs as batches have them, users str [B]) -> scores [B, N]; None for a task
            that it does not score.
        tasks: the tasks.
        records: a records folder.
        part: validation or test.
        settings: sizes of batches; those of the models that the scores are compared with.
        whole_history: whether histories are left uncut by `max_length`.
        watch: called with each batch; `AskedRequests` is one.

    Returns:
        name -> task -> scored requests; a task without a request in this part is left out.
    """
    found: dict[str, dict[str, list[ScoredRequests]]] = {name: {task: [] for task in tasks} for name in scores}
    total = sum(count_targets(records, task, part, settings) for task in tasks)
    title = f"{Part(part)} {', '.join(scores)}"
    with progress(title, "requests", total) as shown:
        for inputs, labels, weights, users in requests(
            records, part, tasks=tasks, settings=settings, whole_history=whole_history
        ):
            shown.update(len(users))
            decoded = np.char.decode(users.numpy().astype(bytes), "utf-8")
            for task in tasks:
                if not labels[task].shape[1]:
                    continue
                mask = weights[task].numpy() > 0
                batch = {}
                for name, score in scores.items():
                    values = score(task, inputs, decoded)
                    if values is not None:
                        values = np.asarray(values, np.float64)
                        batch[name] = ScoredRequests(decoded, values, labels[task].numpy(), mask)
                        found[name][task].append(batch[name])
                if watch:
                    watch(task, inputs, batch)
    return {
        name: {task: ScoredRequests.concatenate(parts) for task, parts in by_task.items() if parts}
        for name, by_task in found.items()
    }
