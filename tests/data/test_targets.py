"""Which moments are targets, and what each may see, against a plain reading of the rules."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data.targets import Part, choose_per_user, find_targets, history_lengths, parse, positive_behaviors
from atrank_tf.schema import Schema, schema_from_dict

SPLIT = (Part.TRAINING, Part.VALIDATION, Part.TEST)

DECLARED: dict[str, Any] = {
    "tables": {"item": {"dim": 2, "rows": 30}, "word": {"dim": 2, "rows": 30}},
    "entities": {
        "item": {"id": {"column": "item_id", "table": "item"}, "rows": 30},
        "word": {"id": {"column": "word_id", "table": "word"}, "rows": 30},
    },
    "groups": {
        "buy": {"entity": "item", "actions": ["view", "buy"], "max_length": 4},
        "search": {"entity": "word", "actions": ["search"], "max_length": 3},
    },
    "tasks": {
        "next_buy": {"group": "buy", "actions": ["buy"], "negatives": {"uniform": 1}},
        "next_search": {"group": "search", "candidates": "impressions"},
    },
}
# user -> group -> (id, action, timestamp), in time order, with ties within and between groups
TIMELINES: dict[str, dict[str, list[tuple[int, int, int]]]] = {
    "a": {
        "buy": [(2, 3, 10), (3, 2, 10), (4, 3, 10), (5, 3, 20), (6, 3, 30), (7, 3, 30), (8, 3, 40)],
        "search": [(2, 2, 5), (3, 2, 10), (4, 2, 30), (5, 2, 39), (6, 2, 40), (7, 2, 41)],
    },
    "b": {"buy": [], "search": [(9, 2, 15)]},
    "c": {"buy": [(2, 3, 30), (3, 3, 50)], "search": []},
}
REQUESTS = {"a": [(10, [2, 3]), (30, [4])], "b": [(16, [5, 6, 7])], "c": []}


def serialize() -> list[bytes]:
    """The Examples of `TIMELINES`, laid out as in a records folder."""

    def ints(values: list[int]) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    examples = []
    for user, groups in TIMELINES.items():
        features = {"user_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[user.encode()]))}
        for group, rows in groups.items():
            for place, column in enumerate(("id", "action", "timestamp")):
                features[f"{group}/{column}"] = ints([row[place] for row in rows])
        requests = REQUESTS[user]
        features["next_search/timestamp"] = ints([moment for moment, _ in requests])
        features["next_search/row_lengths"] = ints([len(candidates) for _, candidates in requests])
        features["next_search/candidates"] = ints([c for _, candidates in requests for c in candidates])
        features["next_search/label"] = ints([c % 2 for _, candidates in requests for c in candidates])
        examples.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return examples


def declared(**split: Any) -> Schema:
    return schema_from_dict({**DECLARED, "split": split} if split else DECLARED)


def windows(schema: Schema, task: str, part: Part) -> list[tuple[str, int, dict[str, list[int]]]]:
    """(user, now, group -> timestamps that the history holds) of each target."""
    chunk = parse(tf.constant(serialize()), schema)
    targets = find_targets(chunk, schema, task, part)
    users = list(TIMELINES)
    found = []
    for place, (user, now) in enumerate(zip(targets.user.numpy(), targets.request_time.numpy(), strict=True)):
        history = {
            group: chunk.groups[group]
            .timestamp.numpy()[targets.starts[group].numpy()[place] : targets.ends[group].numpy()[place]]
            .tolist()
            for group in schema.groups
        }
        found.append((users[user], int(now), history))
    return found


BY_TIME = {"kind": "by_time", "validation_from": 25, "test_from": 35}


@pytest.mark.parametrize("part", list(Part))
@pytest.mark.parametrize("split", [{}, BY_TIME], ids=["leave last out", "by time"])
def test_4_a_strict_history_is_all_before_the_moment_and_nothing_else(part: Part, split: dict[str, Any]) -> None:
    schema = declared(**split)
    for task in ("next_buy", "next_search"):
        for user, now, history in windows(schema, task, part):
            for group, seen in history.items():
                before = [row[2] for row in TIMELINES[user][group] if row[2] < now]
                assert seen == before[-schema.groups[group].max_length :]


@pytest.mark.parametrize("split", [{}, BY_TIME], ids=["leave last out", "by time"])
def test_the_last_training_has_the_targets_of_training_and_of_validation(split: dict[str, Any]) -> None:
    schema = declared(**split)
    for task in ("next_buy", "next_search"):
        both = [window for part in SPLIT[:2] for window in windows(schema, task, part)]
        assert sorted(windows(schema, task, Part.TRAINING_AND_VALIDATION), key=str) == sorted(both, key=str)


def test_4_an_ordered_history_ends_at_the_position_in_its_own_group_and_before_the_moment_in_others() -> None:
    tasks = {**DECLARED["tasks"], "next_buy": {**DECLARED["tasks"]["next_buy"], "ties": "ordered"}}
    schema = schema_from_dict({**DECLARED, "tasks": tasks})
    found = [window for part in SPLIT for window in windows(schema, "next_buy", part)]
    ids = [(user, now, history["buy"], history["search"]) for user, now, history in sorted(found, key=str)]
    assert ids == sorted(
        [
            ("a", 10, [], [5]),
            ("a", 10, [10, 10], [5]),
            ("a", 20, [10, 10, 10], [5, 10]),
            ("a", 30, [10, 10, 10, 20], [5, 10]),
            ("a", 30, [10, 10, 20, 30], [5, 10]),
            ("a", 40, [10, 20, 30, 30], [10, 30, 39]),
            ("c", 30, [], []),
            ("c", 50, [30], []),
        ],
        key=str,
    )


def test_leave_last_out_keeps_the_last_for_test_and_the_one_before_for_validation() -> None:
    moments = {part: [(user, now) for user, now, _ in windows(declared(), "next_buy", part)] for part in SPLIT}
    assert moments == {
        Part.TRAINING: [("a", 10), ("a", 10), ("a", 20), ("a", 30)],
        Part.VALIDATION: [("a", 30), ("c", 30)],
        Part.TEST: [("a", 40), ("c", 50)],
    }


def test_by_time_divides_requests_and_positives_at_the_two_moments() -> None:
    schema = declared(**BY_TIME)
    moments = {part: [now for _, now, _ in windows(schema, "next_buy", part)] for part in SPLIT}
    assert moments == {Part.TRAINING: [10, 10, 20], Part.VALIDATION: [30, 30, 30], Part.TEST: [40, 50]}
    moments = {part: [now for _, now, _ in windows(schema, "next_search", part)] for part in SPLIT}
    assert moments == {Part.TRAINING: [10, 16], Part.VALIDATION: [30], Part.TEST: []}


def test_only_the_actions_of_the_task_are_positive() -> None:
    schema = declared()
    chunk = parse(tf.constant(serialize()), schema)
    assert positive_behaviors(chunk, schema, "next_buy").numpy().tolist() == [True, False] + [True] * 7
    everything = replace(schema, tasks={"all": replace(schema.tasks["next_buy"], actions=())})
    assert positive_behaviors(chunk, everything, "all").numpy().all()


def test_choose_per_user_draws_evenly_and_at_most_so_many() -> None:
    schema = declared(**BY_TIME)
    chunk = parse(tf.constant(serialize()), schema)
    targets = find_targets(chunk, schema, "next_buy", Part.TRAINING)
    counts = np.zeros(3)
    for seed in range(300):
        chosen = choose_per_user(targets, 2, tf.constant([seed, 1], tf.int64))
        assert chosen.index.numpy().tolist() == sorted(chosen.index.numpy().tolist())
        assert len(chosen.index) == 2
        counts += np.isin(targets.index.numpy(), chosen.index.numpy())
    assert (np.abs(counts / 300 - 2 / 3) < 0.12).all()
    assert len(choose_per_user(targets, 0, tf.constant([0, 0], tf.int64)).index) == 3


def test_history_lengths_add_the_groups_up() -> None:
    schema = declared()
    chunk = parse(tf.constant(serialize()), schema)
    targets = find_targets(chunk, schema, "next_buy", Part.TEST)
    assert history_lengths(targets).numpy().tolist() == [4 + 3, 1 + 0]


def test_no_user_gives_no_target() -> None:
    schema = declared()
    chunk = parse(tf.zeros([0], tf.string), schema)
    for task in schema.tasks:
        for part in SPLIT:
            assert find_targets(chunk, schema, task, part).user.numpy().tolist() == []
