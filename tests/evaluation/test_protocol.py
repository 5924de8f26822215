"""Scoring a part of the data by a model and by rules of thumb."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from atrank_tf.data import Part, Records, requests
from atrank_tf.evaluation import ScoredRequests, evaluate, score_baselines, score_model
from atrank_tf.experiment import Batching
from atrank_tf.models import Ranker

SETTINGS = Batching(evaluation_batch_size=17)


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Ranker]) -> Ranker:
    return make_model()


@pytest.fixture(scope="module")
def scored(model: Ranker, records: Records) -> dict[str, ScoredRequests]:
    """The requests of the test part as the model scores them."""
    return score_model(model, records, "test", SETTINGS)


@pytest.fixture(scope="module")
def baselines(records: Records) -> dict[str, dict[str, ScoredRequests]]:
    """The same requests as each baseline scores them."""
    return score_baselines(records, Part.TEST, list(records.schema.tasks), SETTINGS)


def test_model_scores_are_those_of_the_whole_model_in_order(
    records: Records, model: Ranker, scored: dict[str, ScoredRequests]
) -> None:
    assert set(scored) == {"next_purchase", "next_redemption"}
    place = dict.fromkeys(scored, 0)
    for inputs, labels, weights, users in requests(records, "test", settings=SETTINGS).as_numpy_iterator():
        task = next(task for task in labels if labels[task].shape[1])
        rows = slice(place[task], place[task] + len(users))
        place[task] += len(users)
        width = labels[task].shape[1]
        expected = np.asarray(model(inputs, training=False)[task])
        mask = weights[task] > 0
        np.testing.assert_allclose(scored[task].scores[rows, :width][mask], expected[mask], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(scored[task].mask[rows, :width], mask)
        np.testing.assert_array_equal(scored[task].labels[rows, :width], labels[task])
        assert scored[task].users[rows].tolist() == [user.decode() for user in users]
    assert {task: len(requests_.users) for task, requests_ in scored.items()} == place


def test_rules_of_lists_score_only_tasks_with_a_position(records: Records) -> None:
    shown = copy.copy(records)
    task = replace(records.schema.tasks["next_redemption"], position="position")
    shown.schema = replace(records.schema, tasks={**records.schema.tasks, "next_redemption": task})
    found = score_baselines(shown, "test", list(records.schema.tasks), SETTINGS)
    assert set(found["position"]) == set(found["last done, else position"]) == {"next_redemption"}
    assert set(found["popularity"]) == {"next_purchase", "next_redemption"}


def test_every_baseline_scores_every_task_on_the_models_requests(
    scored: dict[str, ScoredRequests], baselines: dict[str, dict[str, ScoredRequests]]
) -> None:
    assert list(baselines) == ["popularity", "recent popularity", "repetition", "frequency", "recency"]
    for baseline in baselines.values():
        assert set(baseline) == set(scored)
        for task, by_model in scored.items():
            np.testing.assert_array_equal(baseline[task].users, by_model.users)
            np.testing.assert_array_equal(baseline[task].labels, by_model.labels)
            assert set(evaluate(baseline[task])) == set(evaluate(by_model))
