"""The inputs of a model, listed by hand for a schema that has each kind of column; and that no two have one name."""

import itertools
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.schema import schema_from_dict
from atrank_tf.schema.affinity import affinity_features
from atrank_tf.schema.inputs import (
    InputSpec,
    affinity_name,
    candidate_specs,
    history_specs,
    input_specs,
    join_names,
    profile_specs,
    raw_candidate_specs,
    raw_history_specs,
    raw_input_specs,
    raw_profile_specs,
    request_times_name,
    seen_name,
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
        InputSpec("buy__id", "int64", (None,)),
        InputSpec("buy__action", "int64", (None,)),
        InputSpec("buy__timestamp", "int64", (None,)),
        InputSpec("search__id", "int64", (None,)),
        InputSpec("search__action", "int64", (None,)),
        InputSpec("search__timestamp", "int64", (None,)),
    ]
    assert profile_specs(SCHEMA) == [
        InputSpec("user__age", "int64", (1,)),
        InputSpec("user__likes", "int64", (2,)),
        InputSpec("user__income", "float32", ()),
    ]
    assert candidate_specs(SCHEMA, "next") == [
        InputSpec("next__candidates", "int64", (None,)),
        InputSpec("next__affinity", "float32", (None, len(affinity_features(SCHEMA, "next")))),
    ]
    assert candidate_specs(SCHEMA, "shown") == [
        InputSpec("shown__candidates", "int64", (None,)),
        InputSpec("shown__tag", "int64", (None, 3)),
        InputSpec("shown__slot", "int64", (None,)),
        InputSpec("shown__price", "float32", (None,)),
        InputSpec("shown__affinity", "float32", (None, len(affinity_features(SCHEMA, "shown")))),
    ]


def test_a_request_to_an_export_holds_raw_values() -> None:
    assert raw_history_specs(SCHEMA) == [
        InputSpec("now", "int64", ()),
        InputSpec("buy__id", "string", (None,)),
        InputSpec("buy__action", "string", (None,)),
        InputSpec("buy__timestamp", "int64", (None,)),
        InputSpec("search__id", "int64", (None,)),
        InputSpec("search__action", "string", (None,)),
        InputSpec("search__timestamp", "int64", (None,)),
    ]
    assert raw_profile_specs(SCHEMA) == [
        InputSpec("user__age", "string", ()),
        InputSpec("user__likes", "string", (None,)),
        InputSpec("user__income", "float32", ()),
    ]
    assert raw_candidate_specs(SCHEMA, "next") == [InputSpec("next__candidates", "string", (None,))]
    assert raw_candidate_specs(SCHEMA, "shown") == [
        InputSpec("shown__candidates", "int64", (None,)),
        InputSpec("shown__tag", "string", (None, None)),
        InputSpec("shown__slot", "string", (None,)),
        InputSpec("shown__price", "float32", (None,)),
    ]


def test_a_request_holds_once_what_is_the_same_for_all_its_candidates() -> None:
    task = replace(SCHEMA.tasks["shown"], of_request=("slot", "price"))
    schema = replace(SCHEMA, tasks={**SCHEMA.tasks, "shown": task})
    assert raw_candidate_specs(schema, "shown")[1:] == [
        InputSpec("shown__tag", "string", (None, None)),
        InputSpec("shown__slot", "string", ()),
        InputSpec("shown__price", "float32", ()),
    ]
    assert candidate_specs(schema, "shown") == candidate_specs(SCHEMA, "shown")


def test_raw_and_model_inputs_have_the_same_names_but_for_affinity_which_is_counted() -> None:
    for task in SCHEMA.tasks:
        raw, rows = raw_input_specs(SCHEMA, task), input_specs(SCHEMA, [task])
        assert [spec.name for spec in raw] + [affinity_name(task)] == [spec.name for spec in rows]


_NAMES = st.sampled_from(
    ["user", "now", "candidates", "seen", "lengths", "id", "action", "timestamp", "label", "row_lengths", "memory"]
) | st.text("ab_", min_size=1, max_size=5)


@settings(settings.get_profile("ci"), max_examples=500)
@given(
    groups=st.lists(_NAMES, min_size=1, max_size=3, unique=True),
    tasks=st.lists(_NAMES, min_size=1, max_size=3, unique=True),
    columns=st.lists(st.lists(_NAMES, max_size=4, unique=True), min_size=4, max_size=4),
)
def test_no_two_inputs_of_a_valid_schema_have_one_name(
    groups: list[str], tasks: list[str], columns: list[list[str]]
) -> None:
    user, *contexts = columns
    raw = {
        "tables": {"item": {"dim": 2}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item", "dtype": "string"}}},
        "groups": {name: {"entity": "item", "actions": ["buy"]} for name in groups},
        "tasks": {name: {"group": groups[0], "candidates": "impressions"} for name in tasks},
        "user": _features(user),
    }
    for name, context in zip(tasks, contexts, strict=False):
        raw["tasks"][name]["context"] = _features(context)
    try:
        schema = schema_from_dict(raw)
    except ValueError:
        return
    every = [spec.name for spec in input_specs(schema, tasks)]
    every += [request_times_name(task) for task in tasks]
    every += [seen_name(task, group) for task in tasks for group in groups]
    every += [join_names(spec.name, "lengths") for task in tasks for spec in candidate_specs(schema, task)[1:]]
    assert len(set(every)) == len(every)


def _features(columns: list[str]) -> dict[str, Any]:
    """Half of the columns are categorical."""
    return {"features": {name: {"table": "item", "max_values": 2} for name in columns[::2]}, "dense": columns[1::2]}


def test_no_name_is_joined_from_two_lists_of_parts() -> None:
    letters = ["".join(each) for length in (1, 2, 3, 4) for each in itertools.product("a_", repeat=length)]
    names = [name for name in letters if "__" not in name and not name.endswith("_")]
    parts = [each for length in (1, 2, 3) for each in itertools.product(names, repeat=length)]
    assert len(names) == 11 and len({join_names(*each) for each in parts}) == len(parts)
