"""Affinity in words, of counts written by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atrank_tf.explanation import Explainer, Explanation, Names, Request
from atrank_tf.explanation.affinity_words import affinity_words
from atrank_tf.schema import schema_from_dict
from atrank_tf.schema.affinity import ANY_OBJECT, SAME_OBJECT, affinity_features

DAY = 86_400
LONGEST = 64  # Days: twice the last boundary of seven buckets.
SCHEMA = schema_from_dict(
    {
        "tables": {
            **{name: {"dim": 2, "rows": rows} for name, rows in {"product": 50, "type": 20, "shop": 5}.items()},
            "offer": {"dim": 0, "rows": 2},
        },
        "entities": {
            "product": {
                "id": {"column": "product_id", "table": "product"},
                "features": {"type": "type", "shop": "shop", "offers": {"table": "offer", "max_values": 3}},
                "rows": 50,
            },
            "coupon": {
                "id": {"column": "coupon_id", "table": "shop"},
                "features": {"products": {"table": "product", "max_values": 3}, "offer": "offer"},
                "rows": 4,
            },
        },
        "groups": {
            "purchase": {"entity": "product", "actions": ["full", "reduced"]},
            "use": {"entity": "coupon", "actions": ["use"]},
        },
        "tasks": {
            "next_purchase": {"group": "purchase", "negatives": {"uniform": 1}},
            "next_use": {"group": "use", "negatives": {"uniform": 1}},
        },
        "time": {"unit": "day", "buckets": 7},
    }
)
"""Ages are 1, 4 and 16 days."""

Counts = dict[str, list[int]]
"""Action -> how many are at most 1, 4, 16 days old, and of any age."""


def _words(done: dict[tuple[str, str], tuple[Counts, float | None]], task: str = "next_purchase") -> tuple[str, ...]:
    """Words of (group, table) -> counts, and the days since the last (None: longer than is known)."""
    values = []
    for (group, table), action, age in ((f.channel, f.action, f.age) for f in affinity_features(SCHEMA, task)):
        counts, days = done.get((group, table), ({}, None))
        if action:
            values.append(math.log1p(counts.get(action, [0] * 4)[[DAY, 4 * DAY, 16 * DAY, 0].index(age)]))
        else:
            values.append(0.0 if days is None else math.log((1 + LONGEST) / (1 + days)))
    return affinity_words(np.array(values, np.float32), SCHEMA, task)


def test_the_object_itself_comes_first_then_tables_with_many_rows_and_all_behaviors_last() -> None:
    found = _words(
        {
            ("purchase", ANY_OBJECT): ({"full": [9, 20, 80, 600]}, 0.1),
            ("purchase", SAME_OBJECT): ({"full": [0, 1, 1, 8], "reduced": [0, 0, 2, 6]}, 2),
            ("purchase", "type"): ({"full": [0, 1, 5, 41]}, 2),
            ("purchase", "shop"): ({"full": [1, 1, 1, 90]}, 0.1),
        }
    )
    assert found == (
        "purchase: this product 14 times (3 in the last 16 days), last 2 days ago",
        "purchase: its type 41 times (5 in the last 16 days), last 2 days ago",
        "purchase: its shop 90 times, last less than 1 day ago",
        "purchase: anything 600 times (9 in the last day), last less than 1 day ago",
    )


@pytest.mark.parametrize(
    ("counts", "days", "text"),
    [
        ([0, 0, 0, 1], 63, "once, last 63 days ago"),
        ([0, 0, 0, 1], None, "once"),
        ([0, 0, 0, 2], 17, "2 times, last 17 days ago"),
        ([0, 2, 2, 2], 1, "2 times in the last 4 days, last 1 day ago"),
        ([3, 3, 3, 3], 0, "3 times in the last day, last less than 1 day ago"),
        ([0, 0, 12_344, 12_345], 5, "12345 times (12344 in the last 16 days), last 5 days ago"),
    ],
)
def test_times_and_ages_are_told_in_time_units(counts: list[int], days: float | None, text: str) -> None:
    assert _words({("purchase", SAME_OBJECT): ({"reduced": counts}, days)}) == (f"purchase: this product {text}",)


def test_behaviors_on_objects_of_another_kind_share_a_value_with_the_candidate() -> None:
    once: tuple[Counts, None] = ({"use": [0, 0, 0, 1]}, None)
    assert _words({("use", "product"): once}) == ("use: this product once",)
    bought: tuple[Counts, None] = ({"full": [0, 0, 0, 1]}, None)
    assert _words({("purchase", "product"): bought, ("use", SAME_OBJECT): once}, "next_use") == (
        "use: this coupon once",
        "purchase: its product once",
    )


def test_what_is_linked_to_the_candidate_belongs_to_it() -> None:
    of_link: tuple[Counts, float] = ({"full": [0, 1, 2, 9], "reduced": [0, 0, 1, 5]}, 3)
    bought: tuple[Counts, None] = ({"full": [0, 0, 0, 1]}, None)
    assert _words({("purchase", "product"): bought, ("purchase", "offer"): of_link}, "next_use") == (
        "purchase: what belongs to it 14 times (3 in the last 16 days), last 3 days ago",
        "purchase: its product once",
    )


def test_nothing_done_is_nothing_told_and_four_texts_are_the_most() -> None:
    assert _words({}) == ()
    channels = {(f.channel.group, f.channel.table): f.channel.group for f in affinity_features(SCHEMA, "next_purchase")}
    action = {"purchase": "full", "use": "use"}
    found = _words({channel: ({action[group]: [0, 0, 0, 1]}, None) for channel, group in channels.items()})
    assert len(channels) > 5 and len(found) == 4 and not any("anything" in text for text in found)


def test_an_explanation_tells_what_the_affinity_of_each_candidate_says(
    model: Any, requests: list[Request], explanations: list[Explanation]
) -> None:
    for request, explanation in zip(requests, explanations, strict=True):
        real = request.inputs[f"{request.task}__candidates"][0] > 0
        affinity = request.inputs[f"{request.task}__affinity"][0, real]
        assert explanation.affinity == tuple(affinity_words(row, model.schema, request.task) for row in affinity)
        assert any(explanation.affinity)


def test_without_affinity_there_are_neither_words_nor_a_part(
    make_model: Callable[..., Any], names: Names, requests: list[Request]
) -> None:
    [found] = Explainer(make_model(affinity=False), names).explain(requests[0].task, requests[0].inputs, ["u"])
    assert found.affinity == ((),) * len(found.candidates)
    assert set(found.parts) == {"item_bias", "dot", "dnn"}
