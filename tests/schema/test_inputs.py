"""The inputs of a model, listed by hand for a schema that has each kind of column."""

from atrank_tf.schema import schema_from_dict
from atrank_tf.schema.inputs import (
    InputSpec,
    candidate_specs,
    history_specs,
    input_specs,
    profile_specs,
    raw_candidate_specs,
    raw_history_specs,
    raw_input_specs,
    raw_profile_specs,
    timeline_specs,
)

SCHEMA = schema_from_dict(
    {
        "tables": {"item": {"dim": 2}, "tag": {"dim": 2}},
        "entities": {
            "item": {"id": {"column": "item_id", "table": "item", "dtype": "string"}},
            "query": {"id": {"column": "query_id", "table": "item", "dtype": "int64"}},
        },
        "groups": {
            "buy": {"entity": "item", "actions": ["buy"]},
            "search": {"entity": "query", "actions": ["search"]},
        },
        "tasks": {
            "shown": {
                "group": "search",
                "candidates": "impressions",
                "context": {"features": {"tag": {"table": "tag", "max_values": 3}, "slot": "tag"}, "dense": ["price"]},
            },
            "next": {"group": "buy", "negatives": {"uniform": 1}},
        },
        "user": {"features": {"age": "tag", "likes": {"table": "tag", "max_values": 2}}, "dense": ["income"]},
    }
)


def test_a_model_reads_rows() -> None:
    assert history_specs(SCHEMA) == [
        InputSpec("now", "int64", ()),
        InputSpec("buy_id", "int64", (None,)),
        InputSpec("buy_action", "int64", (None,)),
        InputSpec("buy_timestamp", "int64", (None,)),
        InputSpec("search_id", "int64", (None,)),
        InputSpec("search_action", "int64", (None,)),
        InputSpec("search_timestamp", "int64", (None,)),
    ]
    assert profile_specs(SCHEMA) == [
        InputSpec("user_age", "int64", (1,)),
        InputSpec("user_likes", "int64", (2,)),
        InputSpec("user_income", "float32", ()),
    ]
    assert candidate_specs(SCHEMA, "next") == [InputSpec("next_candidates", "int64", (None,))]
    assert candidate_specs(SCHEMA, "shown") == [
        InputSpec("shown_candidates", "int64", (None,)),
        InputSpec("shown_tag", "int64", (None, 3)),
        InputSpec("shown_slot", "int64", (None,)),
        InputSpec("shown_price", "float32", (None,)),
    ]


def test_a_request_to_an_export_holds_raw_values() -> None:
    assert raw_history_specs(SCHEMA) == [
        InputSpec("now", "int64", ()),
        InputSpec("buy_id", "string", (None,)),
        InputSpec("buy_action", "string", (None,)),
        InputSpec("buy_timestamp", "int64", (None,)),
        InputSpec("search_id", "int64", (None,)),
        InputSpec("search_action", "string", (None,)),
        InputSpec("search_timestamp", "int64", (None,)),
    ]
    assert raw_profile_specs(SCHEMA) == [
        InputSpec("user_age", "string", ()),
        InputSpec("user_likes", "string", (None,)),
        InputSpec("user_income", "float32", ()),
    ]
    assert raw_candidate_specs(SCHEMA, "next") == [InputSpec("next_candidates", "string", (None,))]
    assert raw_candidate_specs(SCHEMA, "shown") == [
        InputSpec("shown_candidates", "int64", (None,)),
        InputSpec("shown_tag", "string", (None, None)),
        InputSpec("shown_slot", "string", (None,)),
        InputSpec("shown_price", "float32", (None,)),
    ]


def test_a_batch_of_timelines_has_request_times_and_seen_counts() -> None:
    assert timeline_specs(SCHEMA, ["shown"]) == [
        InputSpec("shown/now", "int64", (None,)),
        InputSpec("shown/buy_seen", "int64", (None,)),
        InputSpec("shown/search_seen", "int64", (None,)),
    ]


def test_raw_and_model_inputs_have_the_same_names() -> None:
    for task in SCHEMA.tasks:
        raw, rows = raw_input_specs(SCHEMA, task), input_specs(SCHEMA, [task])
        assert [spec.name for spec in raw] == [spec.name for spec in rows]
