"""What of two schemas must be equal for weights to mean the same."""

from typing import Any

import pytest

from atrank_tf.schema import layout, schema_from_dict

RAW: dict[str, Any] = {
    "tables": {"item": {"dim": 2}, "brand": {"dim": 3}, "word": {"dim": 3}},
    "entities": {
        "item": {
            "id": {"column": "item_id", "table": "item"},
            "features": {"brand": "brand", "words": {"table": "word", "max_values": 4}},
            "dense": ["price", "weight"],
        }
    },
    "groups": {"click": {"entity": "item", "actions": ["view", "buy"]}},
    "tasks": {"next": {"group": "click", "negatives": {"uniform": 1}}},
}


def changed(old: str, new: str) -> dict[str, Any]:
    """The layout of the schema with a part of its text replaced."""
    text = repr(RAW)
    assert old in text
    return layout(schema_from_dict(eval(text.replace(old, new))))


def test_places_and_values_are_plain() -> None:
    found = layout(schema_from_dict(RAW))
    assert found["entities.item.features"] == [("brand", "brand"), ("words", "word")]
    assert found["entities.item.dense"] == [("price", "none"), ("weight", "none")]
    assert found["groups.click.actions"] == ["view", "buy"]
    assert found["tasks.next.context.features"] == found["user.dense"] == []


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("['view', 'buy']", "['buy', 'view']", "groups.click.actions"),
        ("['price', 'weight']", "['weight', 'price']", "entities.item.dense"),
        ("['price', 'weight']", "{'price': {'transform': 'log'}, 'weight': {}}", "entities.item.dense"),
        ("'brand': 'brand', ", "'maker': 'brand', ", "entities.item.features"),
        (
            "'brand': 'brand', 'words': {'table': 'word', 'max_values': 4}",
            "'words': {'table': 'word', 'max_values': 4}, 'brand': 'brand'",
            "entities.item.features",
        ),
        ("'tasks':", "'time': {'unit': 'hour'}, 'tasks':", "time.unit"),
        ("'tasks':", "'user': {'dense': ['age']}, 'tasks':", "user.dense"),
        ("'brand': {'dim': 3}", "'brand': {'dim': 0}", "tables.brand.dim = 0"),
    ],
)
def test_what_a_weight_depends_on_differs(old: str, new: str, place: str) -> None:
    first, second = layout(schema_from_dict(RAW)), changed(old, new)
    assert {name for name in first if first[name] != second[name]} == {place}


def test_what_no_weight_depends_on_does_not() -> None:
    first = layout(schema_from_dict(RAW))
    for old, new in (
        ("'dim': 2", "'dim': 2, 'rows': 9, 'min_count': 3"),
        ("'max_values': 4", "'max_values': 5"),
        ("'uniform': 1", "'uniform': 5"),
        ("'tasks':", "'split': {'kind': 'by_time', 'validation_from': 5, 'test_from': 9}, 'tasks':"),
    ):
        assert changed(old, new) == first
