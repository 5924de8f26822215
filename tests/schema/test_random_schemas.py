"""Schema files with anything in them: a ValueError that says where, or a schema that reads back to the same."""

import tomllib
from typing import Any

import pytest
from altered import altered
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.schema import dump_schema, plain, schema_from_dict

RAW: dict[str, Any] = {
    "tables": {"item": {"dim": 2, "min_count": 3}, "tag": {"dim": 2, "rows": 7}},
    "entities": {
        "item": {
            "id": {"column": "item_id", "table": "item", "dtype": "int64"},
            "features": {"tags": {"table": "tag", "max_values": 3, "separator": "|"}},
            "dense": {"price": {"mean": 1.5, "variance": 2.0}},
        }
    },
    "groups": {"click": {"entity": "item", "actions": ["view", "buy"], "columns": {"action": "what"}}},
    "tasks": {
        "next": {
            "group": "click",
            "actions": ["buy"],
            "negatives": {"uniform": 1, "exclude": "ever_chosen"},
            "ties": "ordered",
        },
        "shown": {
            "group": "click",
            "candidates": "impressions",
            "context": {"features": {"slot": "tag"}, "dense": ["score"]},
        },
    },
    "user": {"features": {"age": {"table": "tag"}}},
    "time": {"unit": "day", "buckets": 3},
    "split": {"kind": "by_time", "validation_from": 1, "test_from": 2},
}


def check(raw: dict[str, Any]) -> None:
    try:
        schema = schema_from_dict(raw)
    except ValueError as error:
        assert str(error).endswith((".", "?", "]", ")")) and len(str(error)) > 20
        return
    assert schema_from_dict(plain(schema)) == schema_from_dict(plain(schema, defaults=True)) == schema
    assert schema_from_dict(tomllib.loads(dump_schema(schema))) == schema


def test_it_is_good_before_it_is_altered() -> None:
    check(RAW)
    assert schema_from_dict(RAW).tasks["shown"].context.dense


@settings(settings.get_profile("ci"), max_examples=300)
@given(data=st.data())
def test_altered_schemas(data: Any) -> None:
    check(altered(data, RAW))


@pytest.mark.slow
@settings(settings.get_profile("ci"), max_examples=5_000)
@given(data=st.data())
def test_many_altered_schemas(data: Any) -> None:
    check(altered(data, RAW))
