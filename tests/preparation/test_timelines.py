"""One user's rows -> one Example: order, completeness, padding."""

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.preparation.staging import Staging
from atrank_tf.preparation.timelines import BehaviorRows, ImpressionRows, ShardTimelines, timeline_example
from atrank_tf.schema import load_schema


def numbers(*values):
    return np.array(values, np.int64)


NO_BEHAVIORS = BehaviorRows(*[numbers()] * 3)
SCHEMA = """
[tables]
thing = { dim = 4 }
[entities]
thing = { id = { column = "thing_id", table = "thing" } }
[groups.click]
entity = "thing"
actions = ["view", "buy"]
[tasks]
next_click = { group = "click", negatives = { uniform = 4 } }
"""


def impressions(request, ids, label, timestamp, row, **context):
    return ImpressionRows(
        np.array(request), numbers(*ids), numbers(*label), numbers(*timestamp), numbers(*row), context
    )


def content(example):
    found = {}
    for name, feature in example.features.feature.items():
        found[name] = list(getattr(feature, feature.WhichOneof("kind")).value)
    return found


def test_behaviors_stand_in_time_order_and_ties_in_log_order(tmp_path):
    (tmp_path / "schema.toml").write_text(SCHEMA)
    behaviors = {
        "user": ["ü1", "a", "ü1", "ü1", "ü1"],
        "id": ["e", "f", "g", "h", "f"],
        "action": [2, 2, 2, 3, 3],
        "timestamp": [30, 5, 30, 20, 10],
        "row": [9, 3, 2, 7, 4],
    }
    staging = Staging(tmp_path / "staging", shards=1)
    objects = {"thing": Vocabulary(pl.Series(["e", "f", "g", "h"]))}  # Rows 2, 3, 4, 5.
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        staging.keep("behaviors/click", 0, pl.DataFrame(behaviors)[order])
        timelines = ShardTimelines(staging, 0, load_schema(str(tmp_path / "schema.toml")), objects, {})
        found = [content(example) for _, example in timelines]
        assert found == [
            {"user_id": [b"a"], "click/id": [3], "click/action": [2], "click/timestamp": [5]},
            {
                "user_id": ["ü1".encode()],
                "click/id": [3, 5, 4, 2],
                "click/action": [3, 3, 2, 2],
                "click/timestamp": [10, 20, 30, 30],
            },
        ]


def test_requests_stand_in_time_order_and_keep_their_candidates_together():
    shown = impressions(
        request=["b", "a", "b", "c", "a"],
        ids=[2, 3, 4, 5, 6],
        label=[0, 1, 1, 0, 0],
        timestamp=[50, 10, 50, 10, 10],
        row=[5, 4, 1, 2, 3],
        slot=np.array([[7, 0], [8, 9], [7, 7], [1, 0], [8, 0]], np.int64),
        score=np.float32([0.5, 1.5, 2.5, 3.5, np.nan]),
    )
    found = content(timeline_example("u", {}, {"next": shown}, {}))
    # "c" and "a" are of one moment; "c" begins earlier in the log.
    assert found["next/timestamp"] == [10, 10, 50]
    assert found["next/row_lengths"] == [1, 2, 2]
    assert found["next/candidates"] == [5, 6, 3, 4, 2]
    assert found["next/label"] == [0, 0, 1, 1, 0]
    assert found["next/slot"] == [1, 0, 8, 0, 8, 9, 7, 7, 7, 0]
    np.testing.assert_array_equal(found["next/score"], [3.5, np.nan, 1.5, 2.5, 0.5])


def test_a_requests_moment_is_its_earliest():
    shown = impressions(["a", "b", "a"], [2, 3, 4], [0, 0, 0], [30, 20, 10], [1, 2, 3])
    found = content(timeline_example("u", {}, {"next": shown}, {}))
    assert found["next/timestamp"] == [10, 20]
    assert found["next/candidates"] == [2, 4, 3]


def test_the_profile_is_cut_at_its_padding():
    profile = {"age": numbers(4), "tags": numbers(3, 1, 0, 0), "income": np.float32([np.nan])}
    found = content(timeline_example("u", {}, {}, profile))
    assert found["user/age"] == [4]
    assert found["user/tags"] == [3, 1]
    assert np.isnan(found["user/income"]).all() and len(found["user/income"]) == 1


def test_every_key_is_there_even_if_empty():
    empty = impressions([], [], [], [], [], slot=np.zeros((0, 2), np.int64), score=np.zeros(0, np.float32))
    example = timeline_example("u", {"click": NO_BEHAVIORS}, {"next": empty}, {})
    keys = {"id", "action", "timestamp"}
    more = {"timestamp", "row_lengths", "candidates", "label", "slot", "score"}
    expected = {"user_id"} | {f"click/{key}" for key in keys} | {f"next/{key}" for key in more}
    assert set(example.features.feature) == expected
    assert example.features.feature["next/score"].WhichOneof("kind") == "float_list"
    assert example.features.feature["next/slot"].WhichOneof("kind") == "int64_list"


def test_the_order_of_the_impressions_given_does_not_matter():
    rng = np.random.default_rng(0)
    size = 40
    row, request = rng.permutation(size), rng.integers(0, 5, size)
    columns = (request, rng.integers(2, 9, size), rng.integers(0, 2, size), request // 2 + 1, row)
    texts = set()
    for _ in range(3):
        order = rng.permutation(size)
        shown = ImpressionRows(*(column[order] for column in columns), {})
        example = timeline_example("u", {"click": NO_BEHAVIORS}, {"next": shown}, {})
        texts.add(example.SerializeToString(deterministic=True))
    assert len(texts) == 1


def test_the_parser_of_tensorflow_reads_it():
    rows = BehaviorRows(numbers(5), numbers(2), numbers(30))
    text = timeline_example("u", {"click": rows}, {}, {}).SerializeToString(deterministic=True)
    parsed = tf.io.parse_single_example(text, {"click/id": tf.io.RaggedFeature(tf.int64)})
    assert parsed["click/id"].numpy().tolist() == [5]
