"""`tf.train.Example`s -> requests: whose column an input is."""

import pytest
import tensorflow as tf
from raw_requests import example

from atrank_tf.saved_model.example_request import parse_requests
from atrank_tf.schema import schema_from_dict


@pytest.mark.parametrize(("group", "task"), [("click", "click"), ("click_ad", "click")])
def test_a_group_named_as_the_task_or_longer_is_no_context_of_candidates(group: str, task: str) -> None:
    schema = schema_from_dict(
        {
            "tables": {"item": {"dim": 4}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item", "dtype": "string"}}},
            "groups": {group: {"entity": "item", "actions": ["seen"]}},
            "tasks": {task: {"group": group, "negatives": {"uniform": 1}}},
            "split": {"kind": "leave_last_out"},
        }
    )
    features = {
        "now": [9],
        f"{group}_id": ["a", "b"],
        f"{group}_action": ["seen", "seen"],
        f"{group}_timestamp": [1, 2],
    }
    features[f"{task}_candidates"] = ["c", "d", "e"]
    raw, count = parse_requests(tf.constant([example(features)]), schema, task)
    assert count.numpy().tolist() == [3]
    assert raw[f"{group}_timestamp"].numpy().tolist() == [[1, 2]]
    assert raw[f"{task}_candidates"].shape == (1, 3)
