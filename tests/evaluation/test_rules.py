"""Rules of thumb: what they count, and what not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Part, Popularity, Records, positive_counts, requests
from atrank_tf.evaluation import ScoredRequests, score_baselines
from atrank_tf.evaluation.rules import RECENT_PERIODS, rules_of_thumb
from atrank_tf.experiment import Batching

SETTINGS = Batching(evaluation_batch_size=17)


@pytest.fixture(scope="module")
def baselines(records: Records) -> dict[str, dict[str, ScoredRequests]]:
    """The requests of the test part as each rule scores them."""
    return score_baselines(records, Part.TEST, list(records.schema.tasks), SETTINGS)


def test_popularity_counts_training_positives_only(records: Records, baselines: Any) -> None:
    scored = baselines["popularity"]["next_purchase"]
    counts = positive_counts(records, "next_purchase")
    inputs, *_ = next(requests(records, "test", tasks=["next_purchase"], settings=SETTINGS).as_numpy_iterator())
    expected = np.log1p(counts[inputs["next_purchase__candidates"]])
    np.testing.assert_allclose(scored.scores[: len(expected)], expected)


def test_recent_popularity_counts_the_periods_before_the_request(
    records: Records, chosen_popularity: Callable[..., Popularity]
) -> None:
    part, task = Part.TEST, "next_purchase"
    scored = score_baselines(records, part, [task], SETTINGS)["recent popularity"][task]
    begins, counts = chosen_popularity(records, task)
    place, seen = 0, set()
    for inputs, *_ in requests(records, part, tasks=[task], settings=SETTINGS).as_numpy_iterator():
        for now, candidates in zip(inputs["now"], inputs[f"{task}__candidates"], strict=True):
            over = int((begins <= now).sum())
            expected = np.log1p(counts[candidates, max(over - RECENT_PERIODS, 0) : over].sum(axis=1))
            np.testing.assert_allclose(scored.scores[place, : len(expected)], expected)
            place += 1
            seen.add(over)
    assert place == len(scored.users)
    assert len(seen) > 10


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


@pytest.fixture(scope="module")
def personal(records: Records) -> Any:
    """Scores of candidates by a rule, for two users whose purchases and redemptions are given."""
    rules = rules_of_thumb(records, ["next_purchase"])
    inputs = {
        "now": np.array([1_000_000, 2_000_000]),
        "purchase__id": np.array([[5, 7, 5, 0], [7, 0, 0, 0]]),
        "purchase__timestamp": np.array([[100, 200, 1_000_000 - 86_400, 0], [2_000_000, 0, 0, 0]]),
        "redemption__id": np.array([[5], [9]]),
        "redemption__timestamp": np.array([[999_999], [3]]),
    }
    candidates = np.array([[5, 7, 9, 10_000, 0], [7, 5, 9, 1, 7]])
    return lambda rule: rules[rule]("next_purchase", inputs)(candidates)


def test_repetition_and_frequency_count_each_users_own_behaviors(personal: Any) -> None:
    expected = [[np.log(3), np.log(2), 0, 0, 0], [np.log(2), 0, 0, 0, np.log(2)]]
    np.testing.assert_allclose(personal("repetition"), expected)
    np.testing.assert_allclose(personal("frequency"), expected)  # Redemptions are of coupons, not of products.


def test_recency_is_by_the_last_behavior_on_a_candidate(personal: Any) -> None:
    of_seven = 1 / (1 + (1_000_000 - 200) / 86_400)
    np.testing.assert_allclose(personal("recency"), [[0.5, of_seven, 0, 0, 0], [1, 0, 0, 0, 1]])


def test_frequency_and_recency_read_all_groups_of_the_entity(two_groups: Records) -> None:
    rules = rules_of_thumb(two_groups, ["next_buy"])
    inputs = {
        "now": np.array([86_401]),
        "view__id": np.array([[2, 3, 2]]),
        "view__timestamp": np.array([[1, 1, 1]]),
        "buy__id": np.array([[3, 0]]),
        "buy__timestamp": np.array([[86_400, 0]]),
    }
    found = {name: rules[name]("next_buy", inputs)(np.array([[2, 3, 4]]))[0] for name in rules}
    np.testing.assert_allclose(found["repetition"], np.log([1, 2, 1]))
    np.testing.assert_allclose(found["frequency"], np.log([3, 3, 1]))
    np.testing.assert_allclose(found["recency"], [0.5, 86_400 / 86_401, 0])


def test_a_batch_without_behaviors_has_no_scores_of_its_own(two_groups: Records) -> None:
    rules = rules_of_thumb(two_groups, ["next_buy"])
    nothing = np.zeros((2, 0), np.int64)
    inputs = {f"{group}__{column}": nothing for group in ("view", "buy") for column in ("id", "timestamp")}
    for name in ("repetition", "frequency", "recency"):
        scores = rules[name]("next_buy", inputs | {"now": np.array([5, 6])})(np.array([[2, 3], [0, 4]]))
        np.testing.assert_array_equal(scores, np.zeros((2, 2)))


def test_a_list_is_ranked_by_position_after_what_was_done_something_with_last(hotels: Records) -> None:
    task = "next_click"
    found = {rule: each[task].scores for rule, each in score_baselines(hotels, Part.TEST, [task], SETTINGS).items()}
    place = seen = 0
    batches: Any = requests(hotels, "test", tasks=[task], settings=SETTINGS, whole_history=True)
    for inputs, *_ in batches.as_numpy_iterator():
        positions, shown = inputs[f"{task}__position"], inputs[f"{task}__candidates"]
        for row, (position, candidates) in enumerate(zip(positions, shown, strict=True)):
            order = np.argsort(position).tolist()
            np.testing.assert_array_equal(np.argsort(-found["position"][place]), order)
            done = [
                (moment, item)
                for group in ("look", "click")
                for moment, item in zip(inputs[f"{group}__timestamp"][row], inputs[f"{group}__id"][row], strict=True)
                if item in candidates.tolist()
            ]
            if done:
                last = candidates.tolist().index(max(done)[1])
                order = [last, *(each for each in order if each != last)]
                seen += 1
            np.testing.assert_array_equal(np.argsort(-found["last done, else position"][place]), order)
            place += 1
    assert 10 < seen < place == len(found["position"])


def test_a_task_without_positions_has_no_rule_of_them(baselines: Any) -> None:
    assert set(baselines) == {"popularity", "recent popularity", "repetition", "frequency", "recency"}
