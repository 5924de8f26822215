"""Titles that a schema names: kept for people to read, no input of a model."""

import polars as pl
import pytest

from atrank_tf.data import Records
from atrank_tf.explanation import Names
from atrank_tf.preparation import prepare
from atrank_tf.preparation.log_reader import LONGEST_TITLE
from atrank_tf.schema import schema_from_dict
from atrank_tf.schema.inputs import input_specs

SCHEMA = {
    "tables": {"item": {"dim": 2}},
    "entities": {"item": {"id": {"column": "item_id", "table": "item"}, "name": "title"}},
    "groups": {"buy": {"entity": "item", "actions": ["buy"]}},
    "tasks": {"next": {"group": "buy", "negatives": {"uniform": 1}}},
}
TITLES = {3: "Tea, green", 4: None, 5: "x" * 5_000, 6: "a\0b"}


def written(tmp_path, titles, schema=SCHEMA):
    for kind in ("behaviors", "catalog"):
        (tmp_path / "logs" / kind).mkdir(parents=True)
    rows = {"user_id": ["u"] * 4, "item_id": [3, 4, 5, 6], "action": ["buy"] * 4, "timestamp": [1, 2, 3, 4]}
    pl.DataFrame(rows).write_parquet(tmp_path / "logs/behaviors/buy.parquet")
    pl.DataFrame(titles).write_parquet(tmp_path / "logs/catalog/item.parquet")
    return prepare(str(tmp_path / "logs"), schema_from_dict(schema), str(tmp_path / "records"))


def test_titles_are_kept_by_row_and_shown_with_the_id(tmp_path):
    records = written(tmp_path, {"item_id": list(TITLES), "title": list(TITLES.values())})
    catalog = Records(records.path).catalogs["item"]
    found = dict(zip(catalog.ids.tolist(), catalog.names.tolist(), strict=True))
    assert found == {3: "Tea, green", 4: "", 5: "x" * LONGEST_TITLE, 6: "ab"}
    names = Names(records)
    rows = [2 + catalog.ids.tolist().index(item) for item in (3, 4)]
    assert [thing.label for thing in names.things("item", rows)] == ["Tea, green (3)", "4"]
    assert names.things("item", [1])[0].title == ""


def test_a_model_does_not_see_them(tmp_path):
    records = written(tmp_path, {"item_id": list(TITLES), "title": list(TITLES.values())})
    assert not any("title" in spec.name for spec in input_specs(records.schema, ["next"]))
    assert set(records.vocabularies) == {"item"} and records.catalogs["item"].features == {}


def test_a_column_may_be_a_name_and_a_feature(tmp_path):
    schema = {**SCHEMA, "tables": {"item": {"dim": 2}, "kind": {"dim": 2}}}
    schema["entities"] = {"item": {**SCHEMA["entities"]["item"], "name": "kind", "features": {"kind": "kind"}}}
    records = written(tmp_path, {"item_id": [3, 4], "kind": ["tea", "soap"]}, schema)
    assert sorted(records.catalogs["item"].names.tolist()) == ["", "", "soap", "tea"]


def test_without_the_column_and_with_several_titles_it_is_told(tmp_path):
    with pytest.raises(ValueError, match=r'[Cc]olumn "title"'):
        written(tmp_path / "none", {"item_id": [3]})
    with pytest.raises(ValueError, match=r"Expected one title per row in column \"title\" of .*Received: List"):
        written(tmp_path / "lists", {"item_id": [3], "title": [["a", "b"]]})


def test_the_id_is_no_name():
    schema = {**SCHEMA, "entities": {"item": {**SCHEMA["entities"]["item"], "name": "item_id"}}}
    with pytest.raises(ValueError, match=r'"item_id" of \[entities.item\] is both the id and the name\. Leave the na'):
        schema_from_dict(schema)
