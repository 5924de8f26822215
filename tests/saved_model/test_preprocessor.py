"""Raw ids -> rows: which behaviors of a long history count, and how many values of a column."""

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from raw_requests import example

from atrank_tf.data import IdMaps, Records
from atrank_tf.files import text_array
from atrank_tf.models import Ranker
from atrank_tf.saved_model import Preprocessor
from atrank_tf.saved_model.preprocessor import _hash_table, fit_values, newest_indices, parse_examples
from atrank_tf.schema import schema_from_dict


@pytest.fixture(scope="module")
def preprocessor(make_model: Callable[..., Ranker], records: Records) -> Preprocessor:
    return Preprocessor(make_model(), IdMaps.of(records))


def test_1_lists_of_any_lengths_are_padded_and_what_is_missing_is_unknown(
    make_model: Callable[..., Ranker], records: Records, preprocessor: Preprocessor
) -> None:
    model, ids = make_model(), records.catalogs["product"].ids
    lists = {
        "now": [10_000_000, 10_000_000],
        "purchase__id": [[ids[0], ids[1]], []],
        "purchase__action": [["regular", "regular"], []],
        "purchase__timestamp": [[100, 200], []],
        "next_purchase__candidates": [[ids[2]], [ids[3], ids[4], "never seen"]],
    }
    together = model(preprocessor(lists))["next_purchase"].numpy()
    for user, count in enumerate((1, 3)):
        alone = model(preprocessor({name: values[user : user + 1] for name, values in lists.items()}))
        np.testing.assert_allclose(together[user, :count], alone["next_purchase"][0], rtol=1e-5, atol=1e-5)
    inputs = Preprocessor(make_model(tasks=("next_purchase",)), IdMaps.of(records))(lists)
    assert not [name for name in inputs if name.startswith("next_redemption")]
    assert inputs["redemption__id"].shape == (2, 0)
    assert inputs["user__age"].numpy().tolist() == [[1], [1]]
    assert inputs["next_purchase__candidates"].numpy()[1, 2] == 1


def test_raw_inputs_that_do_not_exist_and_a_missing_now_are_refused(preprocessor: Preprocessor) -> None:
    with pytest.raises(ValueError, match=r"Unknown raw input 'purchase_id'\. Did you mean \"purchase__id\"\?"):
        preprocessor({"now": [1], "purchase_id": [["a"]]})
    with pytest.raises(ValueError, match=r'Expected "now", the Unix seconds of each request\. Received: \[\]'):
        preprocessor({})


def test_what_is_of_the_request_is_said_once_and_holds_for_all_candidates(
    make_model: Callable[..., Ranker], records: Records
) -> None:
    """From Python and from an Example; a request that does not say it has it unknown."""
    task, channel = "next_redemption", "next_redemption__channel"
    schema = records.schema
    once = replace(schema, tasks={**schema.tasks, task: replace(schema.tasks[task], of_request=("channel",))})
    model = make_model()
    each = Preprocessor(model, IdMaps.of(records))
    model.schema = once
    raw = {"now": [10_000_000, 10_000_000], f"{task}__candidates": [[3, 4, 5], [6]]}
    raw[f"{task}__position"] = [[0.0, 1.0, 2.0], [0.0]]
    expected = each({**raw, channel: [["app"] * 3, ["mail", "mail", "mail"]]})
    preprocessor = Preprocessor(model, IdMaps.of(records))
    found = preprocessor({**raw, channel: ["app", "mail"]})
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert len({*found[channel].numpy().ravel().tolist()}) == 2
    assert set(preprocessor(raw)[channel].numpy().ravel().tolist()) == {1}
    features = {"now": [10_000_000], f"{task}__candidates": [3, 4, 5], f"{task}__position": [0.0, 1.0, 2.0]}
    serialized = [example({**features, channel: ["app"]}), example(features)]
    parsed, count = parse_examples(tf.constant(serialized), once, task, lambda sizes: [])
    assert parsed[channel].numpy().tolist() == [b"app", b""] and count.numpy().tolist() == [3, 3]
    rows = preprocessor.candidates(parsed, task)[channel].numpy()
    assert rows[0].tolist() == expected[channel][0].numpy().tolist() and rows[1].tolist() == [1, 1, 1]


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
    raw, count = parse_examples(tf.constant([example(features)]), schema, task, lambda sizes: [])
    assert count.numpy().tolist() == [3]
    assert raw[f"{group}__timestamp"].numpy().tolist() == [[1, 2]]
    assert raw[f"{task}__candidates"].shape == (1, 3)


@pytest.mark.parametrize(
    "values", [["a", "ü b", "c\td", " x ", "y" * 1000], ["a\nb", "c", "a"], ["a\rb", "ab"]], ids=["lines", "LF", "CR"]
)
def test_a_table_finds_any_text(tmp_path: Path, values: list[str]) -> None:
    """One with an end of a line in it cannot be a line of a file."""
    table = _hash_table(text_array(values), str(tmp_path / "values.txt"))
    asked = [*values, "never seen", "a b", "b", "y"]
    expected = [values.index(value) + 2 if value in values else 1 for value in asked]
    assert table.lookup(tf.constant(asked)).numpy().tolist() == expected
    assert [path.name for path in tmp_path.iterdir()] == (["values.txt"] if values[1] == "ü b" else [])


def test_what_a_preprocessor_wrote_goes_with_it(make_model: Callable[..., Ranker], records: Records) -> None:
    preprocessor = Preprocessor(make_model(), IdMaps.of(records))
    path = Path(preprocessor.tables[0]._initializer._filename.asset_path.numpy().decode())
    assert path.read_text().splitlines() == records.catalogs["product"].ids.tolist()
    del preprocessor
    gc.collect()
    assert not path.parent.exists()
