"""What a memory keeps of objects and actions, by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.models import BPRMFConfig
from atrank_tf.models.repeats import Repeats

INPUTS = {
    "purchase__id": [[2, 5, 0], [1, 0, 0]],  # 1 is an unknown object.
    "purchase__action": [[2, 3, 0], [2, 0, 0]],
    "purchase__timestamp": [[10, 20, 0], [15, 0, 0]],
    "redemption__id": [[5], [2]],
    "redemption__action": [[2], [2]],
    "redemption__timestamp": [[30], [40]],
}


@pytest.fixture
def repeats(records: Any) -> Repeats:
    return Repeats(records.schema, tuple(records.schema.tasks))


@pytest.fixture
def memory(repeats: Repeats) -> dict[str, Any]:
    return repeats.remember({name: tf.constant(values, tf.int64) for name, values in INPUTS.items()})


def test_objects_are_numbered_through_all_entities(records: Any, memory: dict[str, Any]) -> None:
    products = records.schema.entities[records.schema.groups["purchase"].entity].rows
    assert list(records.schema.groups) == ["purchase", "redemption"]
    assert memory["object"].numpy().tolist() == [[2, 5, 0, products + 5], [0, 0, 0, products + 2]]
    assert memory["action"].numpy().tolist() == [[2, 3, 0, 2], [2, 0, 0, 2]]
    assert memory["timestamp"].numpy().tolist() == [[10, 20, 0, 30], [15, 0, 0, 40]]


def test_groups_of_one_entity_tell_of_each_others_candidates(records: Any) -> None:
    groups = dict(records.schema.groups)
    groups["redemption"] = replace(groups["redemption"], entity=groups["purchase"].entity)
    repeats = Repeats(replace(records.schema, groups=groups), ("next_redemption",))
    memory = repeats.remember({name: tf.constant(values, tf.int64) for name, values in INPUTS.items()})
    purchases = 2 + len(groups["purchase"].actions)
    assert memory["object"].numpy().tolist() == [[2, 5, 0, 5], [0, 0, 0, 2]]
    assert memory["action"].numpy().tolist() == [[2, 3, 0, purchases + 2], [2, 0, 0, purchases + 2]]
    layer = repeats._layers["next_redemption"]
    layer.build()
    layer.table.assign(np.arange(layer.num_actions)[:, None] * np.ones(layer.table.shape))
    asked = {
        "next_redemption__candidates": tf.constant([[5, 2], [5, 2]], tf.int64),
        "now": tf.constant([60, 60], tf.int64),
    }
    found = repeats.logits("next_redemption", memory, asked).numpy()
    np.testing.assert_array_equal(found, [[3 + purchases + 2, 2], [0, purchases + 2]])


def test_only_behaviors_on_the_very_candidate_count(repeats: Repeats, memory: dict[str, Any]) -> None:
    now = tf.constant([60, 60], tf.int64)
    candidates = {"next_purchase__candidates": tf.constant([[5, 2, 3, 1, 0], [2, 5, 1, 0, 0]], tf.int64)}
    candidates |= {"next_redemption__candidates": tf.constant([[5, 2], [2, 1]], tf.int64)}
    found = {}
    for task, layer in repeats._layers.items():
        layer.build()
        layer.table.assign(tf.fill(layer.table.shape, 2.0))
        found[task] = repeats.logits(task, memory, {**candidates, "now": now}).numpy()
    np.testing.assert_array_equal(found["next_purchase"], [[2, 2, 0, 0, 0], [0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(found["next_redemption"], [[2, 0], [2, 0]])


def test_a_model_without_behaviors_refuses_it() -> None:
    with pytest.raises(ValueError, match=r"this model reads no behaviors\. Received: ranking=\['repeat'\]"):
        BPRMFConfig(ranking=("repeat",))
