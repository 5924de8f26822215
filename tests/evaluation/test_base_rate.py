"""The base rate's log-loss by hand, and what is said of the model's."""

import math
from typing import Any

import numpy as np
import pytest

from atrank_tf.evaluation import ScoredRequests, evaluate, score_base_rate, trained_with
from atrank_tf.experiment import Batching
from atrank_tf.schema import Candidates, Negatives, Task

DRAWN = Task(group="buy", negatives=Negatives(uniform=6, history=3))
SHOWN = Task(group="buy", candidates=Candidates.IMPRESSIONS)


def _scored(labels: Any, mask: Any = None) -> ScoredRequests:
    labels = np.array(labels)
    mask = np.ones(labels.shape, bool) if mask is None else np.array(mask)
    return ScoredRequests(np.array(["a", "b"]), np.where(mask, 3.0, np.nan), labels, mask)


def test_its_log_loss_is_the_entropy_of_the_share_of_positives_and_its_order_is_chance() -> None:
    scored = _scored([[1, 0, 0, 0], [0, 1, 1, 1]], [[True] * 4, [True, False, False, False]])
    found = evaluate(score_base_rate(scored))
    assert found["log_loss"].value == pytest.approx(-(0.2 * math.log(0.2) + 0.8 * math.log(0.8)))
    assert (found["user_auc"].value, found["auc"].value) == (0.5, 0.5)
    assert found["hit_rate@1"].value == pytest.approx(0.25)


@pytest.mark.parametrize("label", [0, 1])
def test_where_all_labels_are_the_same_its_log_loss_is_nothing(label: int) -> None:
    found = evaluate(score_base_rate(_scored([[label, label], [label, label]])))
    assert found["log_loss"].value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("task", "settings", "loss", "expected"),
    [
        (DRAWN, {}, "pointwise", "the model was trained with 9 negatives for each positive, as many as here."),
        (DRAWN, {"negatives": 4}, "pointwise", "with 4 negatives for each positive, its scores are for 9, as here."),
        (DRAWN, {"correct_sampling": True}, "pointwise", "9 negatives for each positive, and correct_sampling: its "),
        (DRAWN, {}, "pairwise", "log_loss tells nothing: scores of the pairwise loss are no logits of probabilities."),
        (SHOWN, {}, "pointwise", "log_loss: the model was trained on what was shown, as it is scored here."),
    ],
)
def test_what_a_model_was_trained_with_is_said(task: Task, settings: Any, loss: str, expected: str) -> None:
    assert expected in trained_with(task, Batching(**settings), loss)
