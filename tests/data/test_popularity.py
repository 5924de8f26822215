"""Popularity, against the training requests one by one."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import (
    PERIODS,
    Part,
    Popularity,
    Records,
    chosen,
    counted_actions,
    done,
    popularity,
    popularity_of_values,
    positive_counts,
    requests,
    shown,
)
from atrank_tf.data.chunk_reading import read_chunks
from atrank_tf.data.targets import Behaviors, Chunk, Requests, parse
from atrank_tf.experiment import Batching
from atrank_tf.schema import FIRST_ROW, Schema, Split, SplitKind, schema_from_dict

SPLIT = (Part.TRAINING, Part.VALIDATION, Part.TEST)


def _leaving_last_out(records: Records) -> Records:
    other = Records(records.path)
    other.schema = replace(records.schema, split=Split(kind=SplitKind.LEAVE_LAST_OUT))
    return other


def _chosen(records: Records, task: str, part: Part) -> list[tuple[int, int]]:
    """The object and moment of each positive."""
    found = []
    for inputs, labels, *_ in requests(records, part, tasks=[task], settings=Batching(min_history=0)):
        rows, places = np.nonzero(labels[task].numpy() > 0)
        objects, moments = inputs[f"{task}__candidates"].numpy()[rows, places], inputs["now"].numpy()[rows]
        found += list(zip(objects.tolist(), moments.tolist(), strict=True))
    return found


@pytest.mark.parametrize(
    ("task", "late"), [("next_purchase", 0), pytest.param("next_redemption", 3600, marks=pytest.mark.slow)]
)
def test_4_counts_are_those_of_all_requests_before_each_period_ends(
    records: Records, task: str, late: int, chosen_popularity: Callable[..., Popularity]
) -> None:
    """Coupons of a list are redeemed an hour later: only then they count."""
    begins, counts = chosen_popularity(records, task)
    expected, of_parts = np.zeros_like(counts), []
    for part in SPLIT:
        found = _chosen(records, task, part)
        of_parts.append(len(found))
        for object_, moment in found:
            expected[object_, (begins <= moment + late).sum()] += 1
    assert min(of_parts) > 10
    np.testing.assert_array_equal(counts, expected)


def test_4_what_was_chosen_of_a_list_counts_from_when_the_user_did_it() -> None:
    """At the first behavior on it since the request; where none tells, at the request."""
    behaviors = Behaviors(
        id=tf.constant([5, 6, 5, 5, 7, 6], tf.int64),
        action=tf.fill([6], tf.constant(FIRST_ROW, tf.int64)),
        timestamp=tf.constant([10, 20, 30, 40, 15, 50], tf.int64),
        user=tf.constant([0, 0, 0, 0, 1, 1], tf.int64),
        splits=tf.constant([0, 4, 6], tf.int64),
    )
    lists = Requests(  # Of user 0 at 10, 11 and 41; of user 1 at 12 and 51.
        timestamp=tf.constant([10, 11, 41, 12, 51], tf.int64),
        user=tf.constant([0, 0, 0, 1, 1], tf.int64),
        starts=tf.constant([0, 2, 5, 7, 10], tf.int64),
        ends=tf.constant([2, 5, 7, 10, 12], tf.int64),
        id=tf.constant([5, 6, 5, 6, 7, 5, 6, 5, 6, 7, 6, 9], tf.int64),
        label=tf.constant([1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0], tf.int64),
        context={},
    )
    chunk = Chunk(tf.constant(["a", "b"]), {}, {"buy": behaviors}, {"next": lists})
    schema = schema_from_dict(
        {
            "tables": {"item": {"dim": 2}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"buy": {"entity": "item", "actions": ["buy"]}},
            "tasks": {"next": {"group": "buy", "candidates": "impressions"}},
        }
    )
    ids, times = chosen(chunk, schema, Part.ALL, task="next")
    np.testing.assert_array_equal(ids, [5, 5, 6, 7, 5, 5, 6, 7, 6])
    np.testing.assert_array_equal(times, [10, 30, 20, 11, 41, 12, 50, 15, 51])
    nothing = Behaviors(*(each[:0] for each in behaviors[:4]), splits=tf.zeros([3], tf.int64))
    _, times = chosen(chunk._replace(groups={"buy": nothing}), schema, Part.ALL, task="next")
    np.testing.assert_array_equal(times, [10, 11, 11, 11, 41, 12, 12, 12, 51])


def test_4_where_the_last_are_left_out_only_the_targets_of_the_part_count(
    records: Records, chosen_popularity: Callable[..., Popularity]
) -> None:
    other, task = _leaving_last_out(records), "next_purchase"
    for part in (Part.TRAINING, Part.TRAINING_AND_VALIDATION):
        _, counts = chosen_popularity(other, task, part=part)
        np.testing.assert_array_equal(counts.sum(axis=1), positive_counts(other, task, part))
    assert counts.sum() < chosen_popularity(records, task).counts.sum()


def test_4_what_is_counted_of_training_is_no_target_of_validation_or_test(records: Records) -> None:
    task = "next_purchase"
    expected = np.zeros_like(positive_counts(records, task))
    for object_, _ in _chosen(records, task, Part.TRAINING):
        expected[object_] += 1
    np.testing.assert_array_equal(positive_counts(records, task), expected)


def test_the_last_period_is_over_after_the_last_target_and_each_has_about_as_many(
    records: Records, chosen_popularity: Callable[..., Popularity]
) -> None:
    begins, counts = chosen_popularity(records, "next_purchase")
    moments = np.array([moment for part in SPLIT for _, moment in _chosen(records, "next_purchase", part)])
    assert moments.max() < begins[-1] <= moments.max() + 3600
    assert (np.diff(begins) >= 0).all()
    reached = np.cumsum(counts.sum(axis=0))
    busiest = np.bincount(moments - moments.min()).max()  # What cannot be divided.
    shares = reached[-1] * np.arange(1, PERIODS + 1) / PERIODS
    assert (reached >= shares).all()
    # Of an hour that is not crowded nothing is known but how much it holds.
    assert (reached < shares + np.maximum(busiest, reached[-1] / PERIODS)).all()


def test_4_a_log_of_an_hour_has_periods_of_seconds(records: Records) -> None:
    moments = np.sort([moment for part in SPLIT for _, moment in _chosen(records, "next_purchase", part)])
    begin, hour = moments[0], 3600 * 400_000
    slower = (moments[-1] - begin) // 3600 + 1

    def in_an_hour(chunk: Chunk, schema: Schema, part: Part) -> tuple[tf.Tensor, tf.Tensor]:
        ids, times = chosen(chunk, schema, part, task="next_purchase")
        return ids, hour + (times - begin) // slower

    ((begins, counts),) = popularity(records, [("product", in_an_hour)])
    seconds = hour + (moments - begin) // slower
    assert seconds.max() - hour < 3600
    assert begins[-1] == seconds.max() + 1
    periods = (begins <= seconds[:, np.newaxis]).sum(axis=1)
    np.testing.assert_array_equal(counts.sum(axis=0), np.bincount(periods, minlength=PERIODS))
    reached = np.cumsum(counts.sum(axis=0))
    shares = reached[-1] * np.arange(1, PERIODS + 1) / PERIODS
    assert (reached >= shares).all()
    assert (reached < shares + np.bincount(seconds - hour).max()).all()


def test_workers_add_up_their_shares(records: Records, chosen_popularity: Callable[..., Popularity]) -> None:
    whole = chosen_popularity(records, "next_purchase")
    shares = [records.of_worker(index, 2) for index in range(2)]
    sums: list[np.ndarray] = []  # Of hours, and then of seconds.
    while True:
        parts, calls = [], []
        for share in shares:
            given: list[np.ndarray] = []

            def total(array: np.ndarray, given: list[np.ndarray] = given) -> np.ndarray:
                given.append(array)
                return sums[len(given) - 1] if len(given) <= len(sums) else array

            parts.append(chosen_popularity(share, "next_purchase", total=total))
            calls.append(given)
        if len(sums) == 2:
            break
        sums.append(calls[0][len(sums)] + calls[1][len(sums)])
    for part in parts:
        np.testing.assert_array_equal(part.begins, whole.begins)
        assert 0 < part.counts.sum() < whole.counts.sum()
    np.testing.assert_array_equal(parts[0].counts + parts[1].counts, whole.counts)


def test_4_counts_of_what_was_shown_are_those_of_all_candidates(records: Records) -> None:
    task = "next_redemption"
    ((begins, counts),) = popularity(records, [("coupon", partial(shown, task=task))])
    expected = np.zeros_like(counts)
    for part in SPLIT:
        for inputs, *_ in requests(records, part, tasks=[task]).as_numpy_iterator():
            periods = (begins[:, np.newaxis] <= inputs["now"]).sum(axis=0)
            for row, period in zip(inputs[f"{task}__candidates"], periods, strict=True):
                np.add.at(expected, (row[row > 0], period), 1)
    assert expected.sum() > 20
    np.testing.assert_array_equal(counts, expected)


def test_4_counts_of_an_action_are_those_of_the_logs(records: Records) -> None:
    row = FIRST_ROW + records.schema.groups["purchase"].actions.index("discounted")
    discounted = partial(done, group="purchase", action="discounted")
    ((begins, counts),) = popularity(records, [("product", discounted)])
    expected = np.zeros_like(counts)
    for _, serialized in read_chunks(records, Part.TEST, tf.constant([0, 0], tf.int64)):
        rows = parse(serialized, records.schema).groups["purchase"]
        for object_, action, moment in zip(rows.id.numpy(), rows.action.numpy(), rows.timestamp.numpy(), strict=True):
            if action == row:
                expected[object_, (begins <= moment).sum()] += 1
    assert expected.sum() > 20
    np.testing.assert_array_equal(counts, expected)


def test_a_value_is_as_popular_as_all_objects_that_have_it() -> None:
    counts = np.array([[0, 0], [5, 5], [1, 2], [10, 20], [100, 0]])
    values = np.array([[0, 0], [1, 0], [2, 0], [2, 3], [0, 0]])
    found = popularity_of_values(Popularity(np.array([10, 20]), counts), values, 5)
    np.testing.assert_array_equal(found.begins, [10, 20])
    np.testing.assert_array_equal(found.counts, [[0, 0], [5, 5], [11, 22], [10, 20], [0, 0]])


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


def test_where_nothing_was_done_nothing_is_popular(records: Records) -> None:
    other, group = Records(records.path), records.schema.groups["purchase"]
    never = replace(group, actions=(*group.actions, "never"))
    other.schema = replace(records.schema, groups={**records.schema.groups, "purchase": never})
    ((begins, counts),) = popularity(other, [("product", partial(done, group="purchase", action="never"))])
    assert not counts.any()
    assert (np.diff(begins) >= 0).all()
