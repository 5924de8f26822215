"""Popularity, against the training requests one by one."""

from dataclasses import replace

import numpy as np
import pytest

from atrank_tf.data import PERIODS, Batching, Part, Records, popularity, positive_counts, requests


def _chosen(records: Records, task: str, part: Part) -> list[tuple[int, int]]:
    """The object and moment of each positive."""
    found = []
    for inputs, labels, *_ in requests(records, part, tasks=[task], settings=Batching(min_history=0)):
        rows, places = np.nonzero(labels[task].numpy() > 0)
        objects, moments = inputs[f"{task}__candidates"].numpy()[rows, places], inputs["now"].numpy()[rows]
        found += list(zip(objects.tolist(), moments.tolist(), strict=True))
    return found


@pytest.mark.parametrize(
    ("task", "part"),
    [
        ("next_purchase", Part.TRAINING),
        ("next_redemption", Part.TRAINING_AND_VALIDATION),
        pytest.param("next_purchase", Part.TRAINING_AND_VALIDATION, marks=pytest.mark.slow),
        pytest.param("next_redemption", Part.TRAINING, marks=pytest.mark.slow),
    ],
)
def test_4_counts_are_those_of_the_training_requests_before_each_period_ends(
    records: Records, task: str, part: Part
) -> None:
    begins, counts = popularity(records, task, part)
    entity = records.schema.groups[records.schema.tasks[task].group].entity
    expected = np.zeros((records.schema.entities[entity].rows, PERIODS), int)
    for object_, moment in _chosen(records, task, part):
        expected[object_, (begins <= moment).sum()] += 1
    assert expected.sum() > 20
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(counts.sum(axis=1), positive_counts(records, task, part))


def test_the_last_period_is_over_after_the_last_target_and_each_has_about_as_many(records: Records) -> None:
    begins, counts = popularity(records, "next_purchase")
    moments = np.array([moment for _, moment in _chosen(records, "next_purchase", Part.TRAINING)])
    assert moments.max() < begins[-1] <= moments.max() + 3600
    assert (begins % 3600 == 0).all()
    assert (np.diff(begins) >= 0).all()
    reached = np.cumsum(counts.sum(axis=0))
    busiest = np.bincount(moments // 3600).max()  # What cannot be divided.
    shares = reached[-1] * np.arange(1, PERIODS + 1) / PERIODS
    assert (reached >= shares).all()
    assert (reached < shares + busiest).all()


def test_workers_add_up_their_shares(records: Records) -> None:
    whole = popularity(records, "next_purchase")
    shares = [records.of_worker(index, 2) for index in range(2)]
    given: list[np.ndarray] = []

    def keep(array: np.ndarray) -> np.ndarray:
        given.append(array)
        return array

    for share in shares:
        popularity(share, "next_purchase", total=keep)
    hours = given[0] + given[2]
    parts = [
        popularity(share, "next_purchase", total=lambda array: hours if array.ndim == 1 else array) for share in shares
    ]
    for part in parts:
        np.testing.assert_array_equal(part.begins, whole.begins)
        assert 0 < part.counts.sum() < whole.counts.sum()
    np.testing.assert_array_equal(parts[0].counts + parts[1].counts, whole.counts)


def test_where_nothing_was_chosen_nothing_is_popular(records: Records) -> None:
    other = Records(records.path)
    other.schema = replace(records.schema, split=replace(records.schema.split, validation_from=1))
    begins, counts = popularity(other, "next_purchase")
    assert not counts.any()
    assert (np.diff(begins) >= 0).all()
