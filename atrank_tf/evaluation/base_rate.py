"""The log-loss of who knows only the share of positives, and a line on how many negatives a model was trained with."""

import numpy as np

from atrank_tf.data.candidates import training_negatives
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.experiment import Batching
from atrank_tf.schema import Candidates, Task

_NEAR = 1e-12


def score_base_rate(scored: ScoredRequests) -> ScoredRequests:
    """Scores every candidate by one logit, that of the share of positives among them.

    Its log-loss is that of who knows how often candidates are positive, and nothing of any of them; its other metrics
    are those of a random order.

    Args:
        scored: requests with at least one real candidate; their scores do not matter.
    """
    rate = np.clip((scored.labels[scored.mask] == 1).mean(), _NEAR, 1 - _NEAR)
    logits = np.full(scored.scores.shape, np.log(rate) - np.log1p(-rate))
    return ScoredRequests(scored.users, logits, scored.labels, scored.mask)


def are_probabilities(settings: Batching, loss: str) -> bool:
    """Returns whether scores are logits of probabilities among the candidates of a task."""
    return loss == "pointwise" and not settings.correct_sampling


def trained_with(task: Task, settings: Batching, loss: str) -> str:
    """Returns the line under a table of metrics: how many negatives a task's model was trained with.

    Args:
        task: the task.
        settings: sizes of the batches of its training.
        loss: name of its loss, as `[training] loss` has it.
    """
    if loss != "pointwise":
        return f"log_loss tells nothing: scores of the {loss} loss are no logits of probabilities."
    if task.candidates is Candidates.IMPRESSIONS:
        return "log_loss: the model was trained on what was shown, as it is scored here."
    here, trained = task.negatives.total, training_negatives(task.negatives, settings).total
    beside = f"log_loss: the model was trained with {trained} negatives for each positive"
    if settings.correct_sampling:
        return f"{beside}, and correct_sampling: its probabilities are of all objects, not of these candidates."
    if trained != here:
        return f"{beside}, its scores are for {here}, as here."
    return f"{beside}, as many as here."
