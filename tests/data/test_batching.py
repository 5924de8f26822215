"""Targets -> batches."""

from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.data.batching import user_inputs
from atrank_tf.data.candidates import batch_candidates, no_candidates
from atrank_tf.data.targets import Part, find_targets, parse
from atrank_tf.schema import schema_from_dict
from atrank_tf.schema.affinity import affinity_features
from atrank_tf.schema.inputs import input_specs


def _example(features: dict[str, Any]) -> bytes:
    def feature(value: Any) -> Any:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if any(isinstance(v, float) for v in value):
            return tf.train.Feature(float_list=tf.train.FloatList(value=value))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=value))

    wrapped = {name: feature(value) for name, value in features.items()}
    return bytes(tf.train.Example(features=tf.train.Features(feature=wrapped)).SerializeToString())


SCHEMA = schema_from_dict(
    {
        "tables": {"item": {"dim": 2}, "tag": {"dim": 2}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
        "groups": {"buy": {"entity": "item", "actions": ["buy"], "max_length": 3}},
        "tasks": {
            "shown": {
                "group": "buy",
                "candidates": "impressions",
                "context": {"features": {"tag": {"table": "tag", "max_values": 2}, "slot": "tag"}, "dense": ["price"]},
            },
            "next": {"group": "buy", "negatives": {"uniform": 1}},
        },
        "user": {"features": {"age": "tag", "likes": {"table": "tag", "max_values": 3}}, "dense": ["income"]},
        "split": {"kind": "by_time", "validation_from": 1000, "test_from": 2000},
    }
)
USERS = [
    {
        "user_id": b"x",
        "buy/id": [4, 5, 6, 7],
        "buy/action": [2, 2, 2, 2],
        "buy/timestamp": [10, 20, 30, 40],
        "shown/timestamp": [25, 60],
        "shown/row_lengths": [3, 1],
        "shown/candidates": [8, 9, 10, 11],
        "shown/label": [0, 1, 0, 1],
        "shown/tag": [2, 3, 4, 0, 5, 0, 6, 7],
        "shown/slot": [2, 3, 4, 5],
        "shown/price": [0.5, 1.5, 2.5, 3.5],
        "user/age": [2],
        "user/likes": [3, 4],
        "user/income": [12.5],
    },
    {
        "user_id": b"y",
        "buy/id": [],
        "buy/action": [],
        "buy/timestamp": [],
        "shown/timestamp": [50],
        "shown/row_lengths": [2],
        "shown/candidates": [12, 13],
        "shown/label": [1, 0],
        "shown/tag": [2, 0, 3, 0],
        "shown/slot": [6, 7],
        "shown/price": [4.5, 5.5],
        "user/age": [1],
        "user/likes": [1],
        "user/income": [float("nan")],
    },
]


def test_a_batch_holds_windows_candidates_context_and_profile_by_hand() -> None:
    chunk = parse(tf.constant([_example(user) for user in USERS]), SCHEMA)
    targets = find_targets(chunk, SCHEMA, "shown", Part.TRAINING)
    history = {name: value.numpy().tolist() for name, value in user_inputs(chunk, targets).items()}
    income = history.pop("user__income")
    assert history == {
        "buy__id": [[4, 5, 0], [5, 6, 7], [0, 0, 0]],
        "buy__action": [[2, 2, 0], [2, 2, 2], [0, 0, 0]],
        "buy__timestamp": [[10, 20, 0], [20, 30, 40], [0, 0, 0]],
        "user__age": [[2], [2], [1]],
        "user__likes": [[3, 4, 0], [3, 4, 0], [1, 0, 0]],
    }
    assert income[:2] == [12.5, 12.5] and np.isnan(income[2])
    inputs, labels, weights = batch_candidates(chunk, targets, SCHEMA, "shown", None, {})
    assert {name: value.numpy().tolist() for name, value in inputs.items()} == {
        "shown__candidates": [[8, 9, 10], [11, 0, 0], [12, 13, 0]],
        "shown__tag": [[[2, 3], [4, 0], [5, 0]], [[6, 7], [0, 0], [0, 0]], [[2, 0], [3, 0], [0, 0]]],
        "shown__slot": [[2, 3, 4], [5, 0, 0], [6, 7, 0]],
        "shown__price": [[0.5, 1.5, 2.5], [3.5, 0.0, 0.0], [4.5, 5.5, 0.0]],
    }
    assert labels.numpy().tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert weights.numpy().tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]


def test_a_sampled_request_has_its_positive_first_and_no_weight_where_nothing_was_drawn() -> None:
    chunk = parse(tf.constant([_example(user) for user in USERS]), SCHEMA)
    targets = find_targets(chunk, SCHEMA, "next", Part.TRAINING)
    negatives = tf.constant([[9, 0]] * 4, tf.int64)
    inputs, labels, weights = batch_candidates(chunk, targets, SCHEMA, "next", negatives, {})
    assert inputs["next__candidates"].numpy().tolist() == [[4, 9, 0], [5, 9, 0], [6, 9, 0], [7, 9, 0]]
    assert labels.numpy().tolist() == [[1, 0, 0]] * 4
    assert weights.numpy().tolist() == [[1, 1, 0]] * 4


def test_inputs_are_as_listed_with_and_without_candidates() -> None:
    chunk = parse(tf.constant([_example(user) for user in USERS]), SCHEMA)
    targets = find_targets(chunk, SCHEMA, "shown", Part.TRAINING)
    features = len(affinity_features(SCHEMA, "shown"))
    affinity = {"shown__affinity": lambda _, candidates: tf.zeros([*candidates.shape, features])}
    with_candidates, _, _ = batch_candidates(chunk, targets, SCHEMA, "shown", None, affinity)
    without, labels, weights = no_candidates(SCHEMA, "shown", 3, with_rates=False)
    assert labels.shape == weights.shape == (3, 0)
    specs = input_specs(SCHEMA, ["shown"])
    history = {"now": targets.request_time} | user_inputs(chunk, targets)
    for inputs in (history | with_candidates, history | without):
        assert set(inputs) == {spec.name for spec in specs}
        for spec in specs:
            assert inputs[spec.name].dtype == spec.dtype, spec
            assert tf.TensorShape([3, *spec.shape]).is_compatible_with(inputs[spec.name].shape), spec
