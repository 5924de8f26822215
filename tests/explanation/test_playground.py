"""The playground's page: it asks its own server only, and holds what a person gave it as data."""

import copy
import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

from atrank_tf.explanation import playground_page, playground_titles

HOSTILE = "</script><script>alert(1)</script>"


def _data(text: str) -> Any:
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(data)


def test_whole_numbers_are_text_for_a_browser_rounds_them() -> None:
    request = {"signature_name": "buy", "instances": [{"now": 2**53 + 1, "item_id": [2**62 + 1], "price": [0.5]}]}
    data = _data(playground_page(["shop"], request))
    assert data == {
        "models": ["shop"],
        "signature": "buy",
        "values": {"now": "9007199254740993", "item_id": ["4611686018427387905"], "price": [0.5]},
        "titles": [],
        "titled": {},
    }


def test_titles_are_those_of_the_catalog_and_stand_in_the_page_once(records: Any) -> None:
    assert playground_titles(records) == {}
    named, catalog = copy.copy(records), records.catalogs["product"]
    titles = np.array([f"Product {each}" if each != "p3" else "" for each in catalog.ids.tolist()])
    named.catalogs = {**records.catalogs, "product": dataclasses.replace(catalog, names=titles)}
    found = playground_titles(named)
    assert set(found) == {"purchase__id", "next_purchase__candidates"}
    assert found["purchase__id"]["p1"] == "Product p1" and "p3" not in found["purchase__id"]
    data = _data(playground_page(["shop"], {"instances": [{"now": 1}]}, found))
    assert data["titled"] == {"purchase__id": 0, "next_purchase__candidates": 0}
    assert data["titles"] == [found["purchase__id"]]


def test_a_missing_number_is_an_empty_field_and_an_infinite_one_keeps_its_name() -> None:
    request = json.loads('{"instances": [{"now": 1, "user__income": NaN, "price": [0.5, NaN, [-Infinity, 1e999]]}]}')
    values = _data(playground_page(["shop"], request))["values"]
    assert values == {"now": "1", "user__income": "", "price": [0.5, "", ["-Infinity", "Infinity"]]}


def test_it_may_ask_its_own_server_and_nobody_else() -> None:
    text = playground_page([HOSTILE], {"instances": [{HOSTILE: [HOSTILE]}]})
    [policy] = re.findall('Content-Security-Policy" content="([^"]*)"', text)
    assert "connect-src 'self';" in policy and "unsafe" not in policy and policy.startswith("default-src 'none'")
    assert text.count("<script") == 2
    assert _data(text)["values"] == {HOSTILE: [HOSTILE]}
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "import ", "https:"):
        assert way not in text


@pytest.mark.parametrize("request_body", [[], {}, {"instances": []}, {"instances": [3]}, {"inputs": {"now": [1]}}])
def test_what_is_no_request_in_row_form_is_refused(request_body: Any) -> None:
    with pytest.raises(ValueError, match="Expected a predict request in row form"):
        playground_page(["shop"], request_body)
