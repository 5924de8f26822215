"""A schema of fewer groups."""

from dataclasses import replace

import pytest

from atrank_tf.schema import ALL_TABLES, schema_from_dict, select_groups

SCHEMA = schema_from_dict(
    {
        "tables": {"item": {"dim": 4}, "category": {"dim": 2}, "query": {"dim": 4}, "age": {"dim": 2}},
        "entities": {
            "item": {"id": {"column": "item_id", "table": "item"}, "features": {"category": "category"}},
            "query": {"id": {"column": "query_id", "table": "query"}},
        },
        "groups": {
            "click": {"entity": "item", "actions": ["view"]},
            "search": {"entity": "query", "actions": ["do"]},
            "cart": {"entity": "item", "actions": ["add"]},
        },
        "tasks": {
            "next_click": {"group": "click", "negatives": {"uniform": 1}},
            "next_search": {"group": "search", "negatives": {"uniform": 1}},
        },
        "user": {"features": {"age": "age"}},
    }
)


def test_what_only_other_groups_need_goes_with_them():
    found = select_groups(SCHEMA, ["search"])
    assert list(found.groups) == ["search"]
    assert list(found.entities) == ["query"]
    assert list(found.tasks) == ["next_search"]
    assert list(found.tables) == ["query", "age"]
    assert found.user == SCHEMA.user


def test_the_order_is_the_schemas():
    found = select_groups(SCHEMA, ["cart", "click"])
    assert list(found.groups) == ["click", "cart"]
    assert list(found.tables) == ["item", "category", "age"]


@pytest.mark.parametrize("groups", [[], ["cart", "search", "click"]])
def test_all_groups_are_the_schema_itself(groups):
    assert select_groups(SCHEMA, groups) is SCHEMA


def test_affinity_names_only_tables_that_are_left_and_may_be_taken_out():
    tasks = {**SCHEMA.tasks, "next_click": replace(SCHEMA.tasks["next_click"], affinity=("category", "query"))}
    schema = replace(SCHEMA, tasks=tasks)
    assert select_groups(schema, ["click"]).tasks["next_click"].affinity == ("category",)
    assert select_groups(SCHEMA, ["click"]).tasks["next_click"].affinity == ALL_TABLES
    found = select_groups(schema, [], affinity=False)
    assert [task.affinity for task in found.tasks.values()] == [(), ()]


def test_an_unknown_group_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown group 'clik'\. Did you mean \"click\"\?"):
        select_groups(SCHEMA, ["search", "clik"])
