"""Popularity, against the training requests one by one."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import (
    PERIODS,
    Batching,
    Part,
    Records,
    action_popularity,
    counted_actions,
    popularity,
    positive_counts,
    requests,
    shown_popularity,
)
from atrank_tf.data.chunk_reading import read_chunks
from atrank_tf.data.targets import parse
from atrank_tf.schema import FIRST_ROW, Split, SplitKind, schema_from_dict


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


def test_4_counts_of_what_was_shown_are_those_of_all_candidates_of_the_training_requests(records: Records) -> None:
    task = "next_redemption"
    begins, counts = shown_popularity(records, task)
    expected = np.zeros_like(counts)
    for inputs, *_ in requests(records, Part.TRAINING, tasks=[task]).as_numpy_iterator():
        periods = (begins[:, np.newaxis] <= inputs["now"]).sum(axis=0)
        for row, period in zip(inputs[f"{task}__candidates"], periods, strict=True):
            np.add.at(expected, (row[row > 0], period), 1)
    assert expected.sum() > 20
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("part", [Part.TRAINING, Part.TRAINING_AND_VALIDATION])
def test_4_counts_of_an_action_are_those_of_the_logs_before_the_part_ends(records: Records, part: Part) -> None:
    group = records.schema.groups["purchase"]
    split = records.schema.split
    end = split.validation_from if part is Part.TRAINING else split.test_from
    begins, counts = action_popularity(records, "purchase", "discounted", part)
    expected = np.zeros_like(counts)
    for _, serialized in read_chunks(records, part, tf.constant([0, 0], tf.int64)):
        rows = parse(serialized, records.schema).groups["purchase"]
        for object_, action, moment in zip(rows.id.numpy(), rows.action.numpy(), rows.timestamp.numpy(), strict=True):
            if action == FIRST_ROW + group.actions.index("discounted") and moment < end:
                expected[object_, (begins <= moment).sum()] += 1
    assert expected.sum() > 20
    np.testing.assert_array_equal(counts, expected)


def test_where_the_last_are_left_out_all_that_was_done_counts(records: Records) -> None:
    other = Records(records.path)
    other.schema = replace(records.schema, split=Split(kind=SplitKind.LEAVE_LAST_OUT))
    _, counts = action_popularity(other, "purchase", "discounted")
    _, before = action_popularity(records, "purchase", "discounted")
    assert counts.sum() > before.sum()


def test_counted_are_all_actions_on_the_entity_but_those_of_the_positives() -> None:
    schema = schema_from_dict(
        {
            "tables": {"item": {"dim": 2}},
            "entities": {name: {"id": {"column": f"{name}_id", "table": "item"}} for name in ("item", "query")},
            "groups": {
                "buy": {"entity": "item", "actions": ["buy", "return"]},
                "see": {"entity": "item", "actions": ["view"]},
                "ask": {"entity": "query", "actions": ["ask"]},
            },
            "tasks": {
                "both": {"group": "buy", "negatives": {"uniform": 1}},
                "next": {"group": "buy", "actions": ["buy"], "negatives": {"uniform": 1}},
                "next_view": {"group": "see", "negatives": {"uniform": 1}},
                "clicked": {"group": "see", "candidates": "impressions"},
            },
        }
    )
    bought, returned, seen = ("buy", "buy"), ("buy", "return"), ("see", "view")
    assert counted_actions(schema, "both") == [seen]
    assert counted_actions(schema, "next") == [returned, seen]
    assert counted_actions(schema, "next_view") == [bought, returned]
    assert counted_actions(schema, "clicked") == [bought, returned]


def test_where_nothing_was_chosen_nothing_is_popular(records: Records) -> None:
    other = Records(records.path)
    other.schema = replace(records.schema, split=replace(records.schema.split, validation_from=1))
    begins, counts = popularity(other, "next_purchase")
    assert not counts.any()
    assert (np.diff(begins) >= 0).all()
