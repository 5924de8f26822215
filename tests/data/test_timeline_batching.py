"""Records -> batches of timelines: the same targets, candidates and windows as the requests one by one."""

from collections import Counter, defaultdict
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from epochs_of_batches import equal

from atrank_tf.data import Part, Records, TrainingBatches, count_targets, requests, timeline_batches, training_batches
from atrank_tf.data.chunk_reading import sum_over_chunks
from atrank_tf.data.targets import Targets, choose_run
from atrank_tf.data.timeline_batching import row_lengths, timeline_rows
from atrank_tf.experiment import Batching
from atrank_tf.schema import Exclude, Ties
from atrank_tf.schema.inputs import candidate_specs, history_specs, profile_specs

pytestmark = pytest.mark.usefixtures("several_chunks")

SETTINGS = Batching(batch_tokens=150, batch_size=1)


def _epoch(
    records: Records, settings: Batching = SETTINGS, seed: int = 1, first_epoch: int = 0, **options: Any
) -> list[Any]:
    batches = timeline_batches(records, settings=settings, seed=seed, **options)
    return list(islice(batches.from_epoch(first_epoch).as_numpy_iterator(), batches.steps))


@pytest.fixture(scope="module")
def made(records: Records) -> TrainingBatches:
    keras.utils.set_random_seed(7)
    return timeline_batches(records, settings=SETTINGS, seed=1)


@pytest.fixture(scope="module")
def two_epochs(made: TrainingBatches) -> list[Any]:
    """The batches of two epochs."""
    return list(islice(made.dataset.as_numpy_iterator(), 2 * made.steps))


@pytest.fixture(scope="module")
def epoch(made: TrainingBatches, two_epochs: list[Any]) -> list[Any]:
    """The batches of the first epoch."""
    return two_epochs[: made.steps]


def _active(labels: dict[str, Any]) -> str:
    return next(task for task in labels if labels[task].shape[-1])


@pytest.fixture(params=["ordered", pytest.param("strict", marks=pytest.mark.slow)])
def tied(request: pytest.FixtureRequest, plain: Records) -> Records:
    """Records of which one task has such ties; the other is strict."""
    found = copy(plain)
    purchase = replace(found.schema.tasks["next_purchase"], ties=Ties(request.param))
    found.schema = replace(found.schema, tasks={**found.schema.tasks, "next_purchase": purchase})
    return found


def test_4_every_target_sees_what_its_request_would(tied: Records) -> None:
    """The leakage law of `training_batches` is tested against the logs; here both are compared, target by target."""
    expected: Counter[Any] = Counter()
    single = training_batches(tied, settings=SETTINGS, seed=1)
    for inputs, labels, _ in islice(single.dataset.as_numpy_iterator(), single.steps):
        task = _active(labels)
        positive = tuple(inputs[f"{task}__candidates"][0][labels[task][0] > 0].tolist())
        histories = tuple(
            tuple(
                tuple(inputs[f"{group}__{column}"][0][inputs[f"{group}__id"][0] > 0].tolist())
                for column in ("id", "action", "timestamp")
            )
            for group in tied.schema.groups
        )
        expected[task, int(inputs["now"][0]), positive, histories] += 1
    found: Counter[Any] = Counter()
    for inputs, labels, weights in _epoch(tied):
        for task in labels:
            for row, moment in zip(*np.nonzero(weights[task].any(axis=2)), strict=True):
                positive = tuple(inputs[f"{task}__candidates"][row, moment][labels[task][row, moment] > 0].tolist())
                histories = []
                for name, group in tied.schema.groups.items():
                    seen = int(inputs[f"{task}__{name}__seen"][row, moment])
                    first = max(0, seen - group.max_length)
                    histories.append(
                        tuple(
                            tuple(inputs[f"{name}__{column}"][row][first:seen].tolist())
                            for column in ("id", "action", "timestamp")
                        )
                    )
                found[task, int(inputs[f"{task}__now"][row, moment]), positive, tuple(histories)] += 1
    assert found == expected
    assert min(Counter(task for task, *_ in found).values()) > 90


def test_an_epoch_holds_every_target_once_and_as_many_batches_as_said(records: Records, epoch: list[Any]) -> None:
    for task in records.schema.tasks:
        real = sum(int(weights[task].any(axis=2).sum()) for _, _, weights in epoch)
        assert real == count_targets(records, task, "training", SETTINGS)


def test_the_targets_of_all_tasks_share_one_history(plain: Records, epoch: list[Any]) -> None:
    users = {task: {user for _, _, _, names in _requests(plain, task) for user in names} for task in plain.schema.tasks}
    rows = [(inputs, weights) for inputs, _, weights in epoch]
    assert sum(len(inputs["purchase__id"]) for inputs, _ in rows) == len(set.union(*users.values())) > 50
    for task, own in users.items():
        assert sum(int(weights[task].any(axis=(1, 2)).sum()) for _, weights in rows) == len(own)


def _requests(records: Records, task: str) -> Any:
    return requests(records, "training", tasks=[task], settings=SETTINGS).as_numpy_iterator()


def test_a_row_is_cut_where_histories_have_nothing_in_common_and_holds_all_that_one_of_its_targets_sees() -> None:
    """Group a: windows of at most 3 of 20 behaviors; group b: of one user, always the same."""

    def targets(now: list[int], user: list[int], a: list[tuple[int, int]], b: list[tuple[int, int]]) -> Targets:
        windows = {"a": a, "b": b}
        starts, ends = ({n: tf.constant([w[side] for w in v], tf.int64) for n, v in windows.items()} for side in (0, 1))
        return Targets(
            tf.constant(now, tf.int64), tf.constant(user, tf.int64), tf.constant(now, tf.int64), starts, ends
        )

    first = targets([1, 3, 9, 5], [0, 0, 0, 1], [(0, 0), (0, 2), (7, 10), (14, 17)], [(0, 0), (0, 0), (0, 0), (0, 1)])
    second = targets([2, 9, 6], [0, 0, 1], [(0, 1), (6, 9), (18, 20)], [(0, 0), (0, 0), (0, 1)])
    rows = timeline_rows({"first": first, "second": second}, tf.constant([1, 1], tf.int64))
    # User 0: moments 1, 2, 3 | 9, 9, since (0, 2) and (7, 10) share nothing. User 1: in b the two see the same.
    assert {task: count.numpy().tolist() for task, count in rows.number.items()} == {
        "first": [2, 1, 1],
        "second": [1, 1, 1],
    }
    assert {task: place.numpy().tolist() for task, place in rows.first.items()} == {
        "first": [0, 2, 3],
        "second": [0, 1, 2],
    }
    assert rows.history.user.numpy().tolist() == [0, 0, 1]
    assert rows.history.starts["a"].numpy().tolist() == [0, 6, 14]
    assert rows.history.ends["a"].numpy().tolist() == [2, 10, 20]
    assert row_lengths(rows).numpy().tolist() == [3, 4, 7]


def test_the_dataset_has_the_inputs_of_a_model_of_timelines(records: Records, made: TrainingBatches) -> None:
    schema = records.schema
    ranks = {spec.name: 1 + len(spec.shape) for spec in [*history_specs(schema), *profile_specs(schema)]}
    del ranks["now"]
    for task in schema.tasks:
        ranks |= {f"{task}__now": 2} | {f"{task}__{group}__seen": 2 for group in schema.groups}
        ranks |= {spec.name: 2 + len(spec.shape) for spec in candidate_specs(schema, task)}
    assert {name: value.shape.rank for name, value in made.dataset.element_spec[0].items()} == ranks
    assert made.dataset.options().experimental_optimization.apply_default_optimizations is False  # As it was written.


def test_each_epoch_draws_fresh_negatives_for_the_same_targets(made: TrainingBatches, two_epochs: list[Any]) -> None:
    def positives(batches: list[Any]) -> dict[Any, set[int]]:
        found: dict[Any, set[int]] = defaultdict(set)
        for inputs, _, weights in batches:
            for place in zip(*np.nonzero(weights["next_purchase"].any(axis=2)), strict=True):
                positive, *negatives = inputs["next_purchase__candidates"][place].tolist()
                found[int(inputs["next_purchase__now"][place]), positive].update(negatives)
        return found

    first, second = positives(two_epochs[: made.steps]), positives(two_epochs[made.steps :])
    both = set(first) & set(second)
    # Users meet in other chunks each time, which may need another batch or one less.
    assert len(both) > 0.8 * len(first) > 100
    assert sum(first[target] != second[target] for target in both) > 0.9 * len(both)


@pytest.mark.parametrize("exclude", Exclude)
def test_no_negative_is_excluded(plain: Records, exclude: Exclude) -> None:
    task, changed = plain.schema.tasks["next_purchase"], copy(plain)
    task = replace(task, negatives=replace(task.negatives, exclude=exclude))
    changed.schema = replace(plain.schema, tasks={"next_purchase": task})
    chosen_another_time = 0
    for inputs, labels, weights in _epoch(changed):
        positives = np.where(labels["next_purchase"] > 0, inputs["next_purchase__candidates"], 0).max(axis=2)
        for row, target in zip(*np.nonzero(weights["next_purchase"].any(axis=2)), strict=True):
            real = weights["next_purchase"][row, target] > 0
            negatives = set(inputs["next_purchase__candidates"][row, target][real][1:].tolist())
            now = inputs["next_purchase__now"][row]
            chosen = positives[row] if exclude == "ever_chosen" else positives[row][now == now[target]]
            assert not negatives & set(chosen.tolist())
            chosen_another_time += len(negatives & set(positives[row].tolist()))
    assert (chosen_another_time > 0) == (exclude == "same_moment")


def test_two_tasks_of_one_kind_of_object_draw_negatives_of_their_own(plain: Records) -> None:
    both = copy(plain)
    both.schema = replace(both.schema, tasks=dict.fromkeys(("one", "other"), both.schema.tasks["next_purchase"]))
    for inputs, labels, _ in _epoch(both):
        first, second = inputs["one__candidates"], inputs["other__candidates"]
        np.testing.assert_array_equal(first[labels["one"] > 0], second[labels["other"] > 0])
        assert (first != second).any()


@pytest.mark.parametrize("number", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_8_a_seed_and_an_epoch_determine_every_batch_and_nothing_else_does(
    records: Records, epoch: list[Any], two_epochs: list[Any], number: int
) -> None:
    epochs = epoch, two_epochs[len(epoch) :]
    keras.utils.set_random_seed(0)  # Not what `two_epochs` were made with.
    assert equal(epochs[number], _epoch(records, first_epoch=number))
    assert not equal(*epochs)


def test_8_another_seed_makes_other_batches(records: Records, epoch: list[Any]) -> None:
    assert not equal(epoch, _epoch(records, seed=2))


@pytest.mark.parametrize("tokens", [30, *(pytest.param(tokens, marks=pytest.mark.slow) for tokens in (100, 400))])
def test_a_batch_has_at_most_so_many_places(plain: Records, tokens: int) -> None:
    batches = _epoch(plain, Batching(batch_tokens=tokens), tasks=["next_purchase"])
    for inputs, labels, _ in batches:
        rows, targets = labels["next_purchase"].shape[:2]
        behaviors = (inputs["purchase__id"] > 0).sum(axis=1) + (inputs["redemption__id"] > 0).sum(axis=1)
        assert rows == 1 or rows * max(behaviors.max(), targets) <= tokens


def test_a_chunk_fills_several_large_batches(plain: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Batching(batch_tokens=400)
    of_few_users = _epoch(plain, settings, tasks=["next_purchase"])
    monkeypatch.setattr("atrank_tf.data.timeline_batching.BATCHES_PER_CHUNK", 4)
    of_many_users = _epoch(plain, settings, tasks=["next_purchase"])
    assert len(of_many_users) < len(of_few_users)
    targets = [
        sum(int(weights["next_purchase"].any(axis=2).sum()) for _, _, weights in epoch)
        for epoch in (of_few_users, of_many_users)
    ]
    assert targets == [count_targets(plain, "next_purchase", "training", settings)] * 2


def test_a_worker_reads_chunks_as_large_as_one_alone(plain: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atrank_tf.data.timeline_batching.BATCHES_PER_CHUNK", 4)
    asked = []

    def sizes(records: Records, part: Part, seed: int, numbers: Any, users: int) -> np.ndarray:
        asked.append(users)
        return sum_over_chunks(records, part, seed, numbers, users)

    monkeypatch.setattr("atrank_tf.data.timeline_batching.sum_over_chunks", sizes)
    timeline_batches(plain, settings=Batching(batch_tokens=400), tasks=["next_purchase"])
    timeline_batches(plain.of_worker(1, 2), settings=Batching(batch_tokens=200), tasks=["next_purchase"])
    assert asked[0] == asked[1] > 16


def test_targets_per_user_keeps_neighbors_in_time() -> None:
    user = tf.constant([0] * 9 + [1] * 2 + [2] * 5, tf.int64)
    index = tf.range(16, dtype=tf.int64)
    drawn = set()
    for draws in np.random.default_rng(1).random((100, 3)):
        kept = choose_run(Targets(index, user, index, {}, {}), 3, tf.constant(draws))
        by_user = [kept.index.numpy()[kept.user.numpy() == number].tolist() for number in range(3)]
        assert by_user[1] == [9, 10]
        for found, places in ((by_user[0], range(9)), (by_user[2], range(11, 16))):
            assert found == list(range(found[0], found[0] + 3)) and set(found) <= set(places)
        drawn.add(by_user[0][0])
    assert drawn == set(range(7))


def test_a_long_timeline_is_divided_and_loses_no_target(plain: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atrank_tf.data.timeline_batching.TARGETS_PER_ROW", 4)
    batches = _epoch(plain, tasks=["next_purchase"])
    assert max(labels["next_purchase"].shape[1] for _, labels, _ in batches) == 4
    real = sum(int(weights["next_purchase"].any(axis=2).sum()) for _, _, weights in batches)
    assert real == count_targets(plain, "next_purchase", "training", SETTINGS)


@pytest.mark.parametrize("seed", range(6))
def test_only_a_long_timeline_is_divided(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atrank_tf.data.timeline_batching.TARGETS_PER_ROW", 4)
    user = tf.constant([0] * 4 + [1] * 9 + [2] * 3, tf.int64)
    now = tf.range(tf.size(user, tf.int64))
    all_of_it = {"a": tf.zeros_like(now)}, {"a": tf.ones_like(now)}
    rows = timeline_rows({"next": Targets(now, user, now, *all_of_it)}, tf.constant([seed, 1], tf.int64))
    numbers = rows.number["next"].numpy()
    assert (numbers[0], numbers[-1], numbers.max(), numbers.sum()) == (4, 3, 4, 16)
    assert len(numbers) in (5, 6)  # Nine targets: 4 + 4 + 1, or with a shorter first one.


def test_a_temperature_is_refused_since_every_batch_has_all_tasks(records: Records) -> None:
    with pytest.raises(ValueError, match=r"Expected temperature = 1.*task_weights.*Received: temperature=2"):
        timeline_batches(records, settings=Batching(temperature=2.0))


def test_no_target_at_all_is_said(records: Records) -> None:
    with pytest.raises(ValueError, match=r"targets of task 'next_purchase' with at least min_history=10+ "):
        timeline_batches(records, tasks=["next_purchase"], settings=Batching(min_history=1000))
