"""The first place where two schemas differ, and what stands there."""

from typing import Any

import pytest

from atrank_tf.schema import first_difference, schema_from_dict

RAW: dict[str, Any] = {
    "tables": {"item": {"dim": 2}, "brand": {"dim": 3}},
    "entities": {"item": {"id": {"column": "item_id", "table": "item"}, "features": {"brand": "brand"}}},
    "groups": {"click": {"entity": "item", "actions": ["view", "buy"]}},
    "tasks": {"next": {"group": "click", "negatives": {"uniform": 1}}},
    "user": {"dense": {"income": {"mean": 0.1 + 0.2}}},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    *rooms, last = place.split(".")
    raw: dict[str, Any] = {room: {**content} for room, content in RAW.items()}
    inside = raw
    for room in rooms:
        inside[room] = dict(inside.get(room, {}))
        inside = inside[room]
    inside[last] = value
    return raw


@pytest.mark.parametrize(
    ("place", "value", "before"),
    [
        ("tables.brand.dim", 4, 3),
        ("groups.click.actions", ["buy", "view"], ["view", "buy"]),
        ("groups.click.max_length", 7, "nothing"),
        ("tasks.next.negatives.uniform", 2, 1),
        ("time.unit", "week", "nothing"),
        ("user.dense.income.mean", 0.3001, 0.1 + 0.2),
    ],
)
def test_the_place_and_both_values_are_told(place: str, value: Any, before: Any) -> None:
    found = first_difference(schema_from_dict(RAW), schema_from_dict(changed(place, value)))
    assert found is not None
    told = (found.place, found.one, found.other)
    assert told == ((place, before, value) if place != "time.unit" else ("time", "nothing", {"unit": "week"}))


def test_the_order_of_names_and_the_rounding_of_moments_are_no_difference() -> None:
    raw = changed("user.dense.income.mean", 0.3)
    raw["tables"] = dict(reversed(raw["tables"].items()))
    assert raw["user"] != RAW["user"]
    assert first_difference(schema_from_dict(RAW), schema_from_dict(raw)) is None
