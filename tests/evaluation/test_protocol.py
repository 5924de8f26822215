"""Scoring a part of the data by a model and by the baselines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Batching, Part, Records, popularity, positive_counts, requests
from atrank_tf.evaluation import ScoredRequests, evaluate, score_baselines, score_model
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


def test_popularity_counts_training_positives_only(records: Records, baselines: Any) -> None:
    scored = baselines["popularity"]["next_purchase"]
    counts = positive_counts(records, "next_purchase")
    inputs, *_ = next(requests(records, "test", tasks=["next_purchase"], settings=SETTINGS).as_numpy_iterator())
    expected = np.log1p(counts[inputs["next_purchase__candidates"]])
    np.testing.assert_allclose(scored.scores[: len(expected)], expected)


def test_recent_popularity_counts_the_four_periods_before_the_request(records: Records) -> None:
    part, task = Part.TRAINING, "next_purchase"  # The split is by time: all other requests come after all periods.
    scored = score_baselines(records, part, [task], SETTINGS)["recent popularity"][task]
    begins, counts = popularity(records, task)
    place, seen = 0, set()
    for inputs, *_ in requests(records, part, tasks=[task], settings=SETTINGS).as_numpy_iterator():
        for now, candidates in zip(inputs["now"], inputs[f"{task}__candidates"], strict=True):
            over = int((begins <= now).sum())
            expected = np.log1p(counts[candidates, max(over - 4, 0) : over].sum(axis=1))
            np.testing.assert_allclose(scored.scores[place, : len(expected)], expected)
            place += 1
            seen.add(over)
    assert place == len(scored.users)
    assert len(seen) > 20


def test_repetition_counts_this_users_whole_history_of_the_group(records: Records, baselines: Any) -> None:
    scored = baselines["repetition"]["next_purchase"]
    batches: Any = requests(records, "test", tasks=["next_purchase"], settings=SETTINGS, whole_history=True)
    place = 0
    for inputs, *_ in batches.as_numpy_iterator():
        for history, candidates in zip(inputs["purchase__id"], inputs["next_purchase__candidates"], strict=True):
            expected = [np.log1p((history == candidate).sum()) for candidate in candidates]
            np.testing.assert_allclose(scored.scores[place], expected)
            place += 1
    assert place == len(scored.users)


def test_every_baseline_scores_every_task_on_the_models_requests(
    scored: dict[str, ScoredRequests], baselines: dict[str, dict[str, ScoredRequests]]
) -> None:
    assert list(baselines) == ["popularity", "recent popularity", "repetition"]
    for baseline in baselines.values():
        assert set(baseline) == set(scored)
        for task, by_model in scored.items():
            np.testing.assert_array_equal(baseline[task].users, by_model.users)
            np.testing.assert_array_equal(baseline[task].labels, by_model.labels)
            assert set(evaluate(baseline[task])) == set(evaluate(by_model))
