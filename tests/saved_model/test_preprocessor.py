"""Raw ids -> rows: which behaviors of a long history count, and how many values of a column."""

import pytest
import tensorflow as tf
from raw_requests import example

from atrank_tf.saved_model.preprocessor import fit_values, newest_indices, parse_examples
from atrank_tf.schema import schema_from_dict


def test_of_more_behaviors_than_max_length_the_newest_count_and_later_ones_win_ties() -> None:
    timestamp = tf.constant([[30, 10, 20, 30, 0], [0, 0, 5, 0, 0]], tf.int64)
    picked = [set(row) for row in newest_indices(timestamp, 2).numpy().tolist()]
    assert picked[0] == {0, 3}
    assert 2 in picked[1]
    assert [set(row) for row in newest_indices(timestamp[:1], 1).numpy().tolist()] == [{3}]
    assert sorted(newest_indices(timestamp, 9).numpy()[0].tolist()) == [0, 1, 2, 3, 4]
    assert newest_indices(timestamp[:, :0], 3).shape == (2, 0)


def test_several_values_come_in_the_width_of_training_and_none_at_all_is_unknown() -> None:
    rows = tf.constant([[5, 0, 6, 7], [0, 0, 0, 0]], tf.int64)
    assert fit_values(rows, 3).numpy().tolist() == [[5, 0, 6], [1, 0, 0]]
    assert fit_values(rows[:, :1], 3).numpy().tolist() == [[5, 0, 0], [1, 0, 0]]
    assert fit_values(rows[:, :0], 2).numpy().tolist() == [[1, 0], [1, 0]]
    assert fit_values(rows[:, tf.newaxis, :2], 2).numpy().tolist() == [[[5, 0]], [[1, 0]]]


@pytest.mark.parametrize(("group", "task"), [("click_ad", "click"), ("_click", "click"), ("click", "click_ad")])
def test_a_group_named_almost_as_the_task_is_no_context_of_candidates(group: str, task: str) -> None:
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
        f"{group}__id": ["a", "b"],
        f"{group}__action": ["seen", "seen"],
        f"{group}__timestamp": [1, 2],
    }
    features[f"{task}__candidates"] = ["c", "d", "e"]
    raw, count = parse_examples(tf.constant([example(features)]), schema, task)
    assert count.numpy().tolist() == [3]
    assert raw[f"{group}__timestamp"].numpy().tolist() == [[1, 2]]
    assert raw[f"{task}__candidates"].shape == (1, 3)
