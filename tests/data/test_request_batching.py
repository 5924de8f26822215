"""Records -> batches: the laws of leakage, freshness and determinism."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from epochs_of_batches import equal

from atrank_tf.data import Part, Records, TrainingBatches, count_targets, evaluation_batches, requests, training_batches
from atrank_tf.experiment import Batching
from atrank_tf.schema import Exclude
from atrank_tf.schema.inputs import input_specs

SPLIT = (Part.TRAINING, Part.VALIDATION, Part.TEST)
GROUP_TIMES = ("purchase/timestamp", "redemption/timestamp")

pytestmark = pytest.mark.usefixtures("several_chunks")

SETTINGS = Batching(batch_size=16, evaluation_batch_size=13)


def _epoch(records: Records, *, seed: int = 1, first_epoch: int = 0, epochs: int = 1, **options: Any) -> list[Any]:
    options = {"settings": SETTINGS} | options
    batches = training_batches(records, seed=seed, **options)
    return list(islice(batches.from_epoch(first_epoch).as_numpy_iterator(), batches.steps * epochs))


@pytest.fixture(scope="module")
def made(records: Records) -> TrainingBatches:
    keras.utils.set_random_seed(7)
    return training_batches(records, settings=SETTINGS, seed=1)


@pytest.fixture(scope="module")
def two_epochs(made: TrainingBatches) -> list[Any]:
    """The batches of two epochs."""
    return list(islice(made.dataset.as_numpy_iterator(), 2 * made.steps))


@pytest.fixture(scope="module")
def asked(plain: Records) -> dict[Part, list[Any]]:
    """The requests of each part, batch by batch."""
    return {part: list(requests(plain, part).as_numpy_iterator()) for part in SPLIT}


@pytest.fixture(scope="module")
def timelines(records: Records) -> dict[str, dict[str, list[int]]]:
    found = {}
    for serialized in tf.data.TFRecordDataset(records.files).as_numpy_iterator():
        features = tf.train.Example.FromString(serialized).features.feature
        user = features["user_id"].bytes_list.value[0].decode()
        found[user] = {name: list(value.int64_list.value) for name, value in features.items() if "/" in name}
    return found


def _range(records: Records, part: Part) -> tuple[int, int]:
    """The moments of a part: from the first on, before the second."""
    split = records.schema.split
    limits = [0, split.validation_from, split.test_from, 2**40]
    return limits[SPLIT.index(part)], limits[SPLIT.index(part) + 1]


@pytest.mark.parametrize("part", SPLIT)
def test_every_purchase_of_a_part_is_asked_once(
    records: Records, asked: dict[Part, list[Any]], timelines: dict[str, dict[str, list[int]]], part: Part
) -> None:
    expected: Counter[tuple[str, int]] = Counter()
    begin, end = _range(records, part)
    for user, columns in timelines.items():
        moments = [time for name, times in columns.items() if name in GROUP_TIMES for time in times]
        for now in columns["purchase/timestamp"]:
            known = part is not Part.TRAINING or min(moments) < now  # Training wants a history.
            if known and begin <= now < end:
                expected[user, now] += 1
    found: Counter[tuple[str, int]] = Counter()
    for inputs, _, _, users in asked[part]:
        if inputs["next_purchase__candidates"].shape[1]:
            found.update(zip((user.decode() for user in users), inputs["now"].tolist(), strict=True))
    assert found == expected and found.total() > 50


@pytest.mark.parametrize("part", SPLIT)
def test_4_no_history_holds_anything_at_or_after_the_targets_moment(
    records: Records, asked: dict[Part, list[Any]], timelines: dict[str, dict[str, list[int]]], part: Part
) -> None:
    seen, (begin, end) = 0, _range(records, part)
    for inputs, _, _, users in asked[part]:
        for row, user in enumerate(user.decode() for user in users):
            now = inputs["now"][row]
            assert begin <= now < end
            for name, group in records.schema.groups.items():
                real = inputs[f"{name}__id"][row] > 0
                expected = [
                    (i, a, t)
                    for i, a, t in zip(
                        *(timelines[user][f"{name}/{column}"] for column in ("id", "action", "timestamp")), strict=True
                    )
                    if t < now
                ][-group.max_length :]
                columns = (inputs[f"{name}__{column}"][row][real] for column in ("id", "action", "timestamp"))
                assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
                seen += 1
    assert seen > 50


@pytest.mark.parametrize("exclude", Exclude)
@pytest.mark.parametrize("part", SPLIT)
def test_no_negative_is_excluded_in_any_part(
    plain: Records, timelines: dict[str, dict[str, list[int]]], part: Part, exclude: Exclude
) -> None:
    drawn, chosen_another_time = 0, 0
    for inputs, _, weights, users in _excluding(plain, exclude, part):
        for row, user in enumerate(user.decode() for user in users):
            positive, *negatives = inputs["next_purchase__candidates"][row][weights["next_purchase"][row] > 0].tolist()
            chosen = list(zip(*(timelines[user][f"purchase/{column}"] for column in ("timestamp", "id")), strict=True))
            assert (inputs["now"][row], positive) in chosen
            own = {item for moment, item in chosen if exclude == "ever_chosen" or moment == inputs["now"][row]}
            assert not own & set(negatives)
            drawn += len(negatives)
            chosen_another_time += len({item for _, item in chosen} & set(negatives))
    assert drawn > 400
    assert (chosen_another_time > 0) == (exclude == "same_moment")


def _excluding(plain: Records, exclude: Exclude, part: Part) -> Iterator[Any]:
    task, changed = plain.schema.tasks["next_purchase"], copy(plain)
    task = replace(task, negatives=replace(task.negatives, exclude=exclude))
    changed.schema = replace(plain.schema, tasks={"next_purchase": task})
    return requests(changed, part).as_numpy_iterator()


@pytest.mark.parametrize("epoch", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_8_a_seed_and_an_epoch_determine_every_batch_and_nothing_else_does(
    records: Records, two_epochs: list[Any], epoch: int
) -> None:
    half = len(two_epochs) // 2
    epochs = two_epochs[:half], two_epochs[half:]
    keras.utils.set_random_seed(0)  # Not what `two_epochs` were made with.
    assert equal(epochs[epoch], _epoch(records, first_epoch=epoch))
    assert not equal(*epochs)


def test_8_another_seed_makes_other_batches(records: Records, two_epochs: list[Any]) -> None:
    assert not equal(two_epochs[: len(two_epochs) // 2], _epoch(records, seed=2))


def test_each_epoch_draws_fresh_negatives_for_the_same_targets(plain: Records) -> None:
    def positives(batches: list[Any]) -> dict[Any, set[int]]:
        found: dict[Any, set[int]] = defaultdict(set)
        for inputs, _, _ in batches:
            for now, row in zip(inputs["now"], inputs["next_purchase__candidates"], strict=True):
                if len(row):
                    found[(int(now), int(row[0]))].update(row[1:].tolist())
        return found

    both = _epoch(plain, epochs=2, settings=Batching(batch_size=1))
    first, second = positives(both[: len(both) // 2]), positives(both[len(both) // 2 :])
    assert set(first) == set(second)
    assert sum(first[target] != second[target] for target in first) > 0.9 * len(first) > 200


def test_a_batch_holds_one_task_and_an_epoch_holds_them_mixed(two_epochs: list[Any]) -> None:
    active = []
    for inputs, labels, weights in two_epochs[: len(two_epochs) // 2]:
        tasks = [task for task in labels if labels[task].shape[1]]
        assert len(tasks) == 1
        assert {task: inputs[f"{task}__candidates"].shape for task in labels} == {t: v.shape for t, v in labels.items()}
        assert {task: value.shape for task, value in weights.items()} == {t: v.shape for t, v in labels.items()}
        active += tasks
    changes = sum(a != b for a, b in pairwise(active))
    assert set(active) == {"next_purchase", "next_redemption"}
    assert changes > 4


def test_selected_groups_leave_the_same_requests_with_less_history(plain: Records) -> None:
    whole = list(requests(plain, "test", tasks=["next_redemption"]).as_numpy_iterator())
    part = list(requests(plain.select(["redemption"]), "test").as_numpy_iterator())
    shown = [
        {
            (user, now, tuple(row), tuple(seen[seen > 0]))
            for inputs, _, _, users in batches
            for user, now, row, seen in zip(
                users, inputs["now"], inputs["next_redemption__candidates"], inputs["redemption__id"], strict=True
            )
        }
        for batches in (_trimmed(whole), _trimmed(part))
    ]
    assert shown[0] == shown[1]
    assert len(shown[0]) > 10
    assert not [name for name in part[0][0] if "purchase" in name]


def _trimmed(batches: list[Any]) -> list[Any]:
    """Padded candidates differ between batches of other lengths."""
    wide = max(inputs["next_redemption__candidates"].shape[1] for inputs, *_ in batches) + 9
    for inputs, *_ in batches:
        found = inputs["next_redemption__candidates"]
        inputs["next_redemption__candidates"] = np.pad(found, ((0, 0), (0, wide - found.shape[1])))
    return batches


def test_a_temperature_gives_small_tasks_more_batches_in_an_epoch_of_the_same_length(
    plain: Records, two_epochs: list[Any]
) -> None:
    def active(batches: list[Any]) -> Counter[str]:
        return Counter(task for _, labels, _ in batches for task in labels if labels[task].shape[1])

    usual = active(two_epochs[: len(two_epochs) // 2])
    even = active(_epoch(plain, settings=replace(SETTINGS, temperature=1e9)))
    assert usual.total() == pytest.approx(even.total(), abs=1)
    assert usual["next_purchase"] > 2 * usual["next_redemption"]
    assert even["next_purchase"] == pytest.approx(even["next_redemption"], abs=1)


def test_the_dataset_has_the_inputs_of_the_model(records: Records, made: TrainingBatches) -> None:
    specs = input_specs(records.schema, records.schema.tasks)
    for dataset in (made.dataset, evaluation_batches(records, "test")):
        assert dataset.options().experimental_optimization.apply_default_optimizations is False  # As it was written.
        inputs = dataset.element_spec[0]
        assert set(inputs) == {spec.name for spec in specs}
        for spec in specs:
            found = inputs[spec.name]
            assert found.dtype == spec.dtype and found.shape.rank == 1 + len(spec.shape), spec


@pytest.fixture(scope="module")
def limited(plain: Records) -> list[Any]:
    """The batches of an epoch of at most 100 tokens, with more negatives than the schema says."""
    return _epoch(plain, settings=Batching(batch_size=16, batch_tokens=100, negatives=9))


def test_training_drops_nothing_and_long_histories_come_in_smaller_batches(plain: Records, limited: list[Any]) -> None:
    found: Counter[str] = Counter()
    for inputs, labels, _ in limited:
        (task,) = (task for task in labels if labels[task].shape[1])
        found[task] += len(labels[task])
        lengths = (inputs["purchase__id"] > 0).sum(axis=1) + (inputs["redemption__id"] > 0).sum(axis=1)
        assert len(labels[task]) <= 16
        assert len(labels[task]) == 1 or len(labels[task]) * lengths.max() <= 100
    assert found == {task: count_targets(plain, task, Part.TRAINING) for task in plain.schema.tasks}


@pytest.mark.parametrize("part", [Part.VALIDATION, pytest.param(Part.TEST, marks=pytest.mark.slow)])
def test_evaluation_drops_nothing_and_says_how_many_batches_there_are(plain: Records, part: Part) -> None:
    batches = evaluation_batches(plain, part, settings=SETTINGS)
    found = list(batches.as_numpy_iterator())
    assert len(found) == int(batches.cardinality())
    for task in plain.schema.tasks:
        rows = sum(len(labels[task]) for _, labels, _ in found if labels[task].shape[1])
        assert rows == count_targets(plain, task, part) > 0


def test_evaluation_scores_the_same_pairs_whatever_the_batch_size(plain: Records) -> None:
    def pairs(size: int) -> set[Any]:
        settings = Batching(evaluation_batch_size=size, evaluation_targets_per_user=2)
        batches = requests(plain, "test", tasks=["next_purchase"], settings=settings)
        return {
            (user, int(now), *row.tolist())
            for inputs, _, _, users in batches.as_numpy_iterator()
            for user, now, row in zip(users, inputs["now"], inputs["next_purchase__candidates"], strict=True)
        }

    few = pairs(3)
    assert few == pairs(64)
    assert len(few) > 20


def test_targets_per_user_and_min_history_bound_training(plain: Records) -> None:
    counted = count_targets(plain, "next_purchase", Part.TRAINING)
    assert counted < count_targets(plain, "next_purchase", Part.TRAINING, Batching(min_history=0))
    with_history = Batching(min_history=1)
    training = requests(plain, Part.TRAINING, tasks=["next_purchase"], settings=with_history)
    users = len({user for *_, users in training for user in users.numpy()})
    capped = Batching(batch_size=1, targets_per_user=1)
    assert count_targets(plain, "next_purchase", Part.TRAINING, capped) == users
    for inputs, labels, _ in _epoch(plain, settings=replace(SETTINGS, min_history=3)):
        if not labels["next_purchase"].shape[1]:  # Impressions are all trained on.
            continue
        assert ((inputs["purchase__id"] > 0).sum(axis=1) + (inputs["redemption__id"] > 0).sum(axis=1) >= 3).all()


def test_whole_history_is_not_cut_at_max_length(plain: Records) -> None:
    longest = {
        whole: max(
            inputs["purchase__id"].shape[1]
            for inputs, *_ in requests(plain, "test", tasks=["next_purchase"], whole_history=whole)
        )
        for whole in (False, True)
    }
    assert longest[False] == plain.schema.groups["purchase"].max_length < longest[True]


def test_a_batch_has_negatives_of_all_kinds(plain: Records) -> None:
    """Rows of one length are put together at random, and not by the numbers that their negatives are drawn by."""
    settings = Batching(batch_size=20, negatives=1, min_history=10)  # The longest that is read: all are of one length.
    spans = []
    for inputs, *_ in training_batches(plain.select(["purchase"]), settings=settings).dataset.take(20):
        negatives = inputs["next_purchase__candidates"].numpy()[:, 1]
        if len(negatives) == 20:
            spans.append(np.subtract(*np.quantile(negatives, [0.75, 0.25])))
    assert len(spans) > 5 and np.mean(spans) > 15  # Half of 40 products.


def test_training_takes_the_experiments_number_of_negatives_and_evaluation_the_schemas(
    plain: Records, limited: list[Any]
) -> None:
    assert {inputs["next_purchase__candidates"].shape[1] for inputs, *_ in limited} == {0, 10}
    evaluated = evaluation_batches(plain, "test", tasks=["next_purchase"], settings=Batching(negatives=9))
    assert {inputs["next_purchase__candidates"].shape[1] for inputs, *_ in evaluated} == {5}


def test_an_unknown_task_is_refused_with_the_nearest(records: Records) -> None:
    with pytest.raises(ValueError, match=r"Unknown task 'next_purchse'. Did you mean \"next_purchase\"?"):
        training_batches(records, tasks=["next_purchse"])


def test_a_task_without_a_training_target_is_refused(records: Records) -> None:
    with pytest.raises(ValueError, match=r"targets of task 'next_purchase' with at least min_history=10+ "):
        training_batches(records, tasks=["next_purchase"], settings=Batching(min_history=10_000))
