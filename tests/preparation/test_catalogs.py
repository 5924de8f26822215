"""Vocabularies: which values get a row, in which order. Catalogs: what is known of each object, by entity row."""

import numpy as np
import polars as pl
import pytest

from atrank_tf.data import Catalog
from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.preparation.catalogs import (
    EntityObjects,
    build_catalog,
    build_vocabularies,
    build_vocabulary,
    order_objects,
)
from atrank_tf.preparation.counting import Counts
from atrank_tf.schema import DenseFeature, Entity, EntityId, IdFeature, schema_from_dict

ENTITY = Entity(
    id=EntityId(column="item_id", table="item"),
    features={"brand": IdFeature(table="brand"), "tags": IdFeature(table="tag", max_values=4)},
    dense={"price": DenseFeature()},
)
VOCABULARIES = {
    "item": Vocabulary(pl.Series(["10", "9"])),
    "brand": Vocabulary(pl.Series(["x"])),
    "tag": Vocabulary(pl.Series(["s", "t"])),
}
OBJECTS = pl.DataFrame({"id": ["10", "9", "100", "7"], "count": [4, 4, 0, 0]})
SIDES = pl.DataFrame(
    {
        "id": ["7", "9", "10"],
        "feature/brand": [["x"], ["rare"], []],
        "feature/tags": [["t"], ["s", "t", "rare"], []],
        "dense/price": [1.5, None, -2.0],
    }
)


@pytest.fixture
def catalog():
    return build_catalog(OBJECTS, SIDES, ENTITY, VOCABULARIES, integers=True)


def test_rows_go_by_count_then_by_id():
    counts = pl.DataFrame({"id": ["10", "9", "b", "100"], "count": [1, 1, 5, 0]})
    assert order_objects(counts, integers=False)["id"].to_list() == ["b", "10", "9", "100"]
    numbers = pl.DataFrame({"id": ["10", "9", "-1"], "count": [1, 1, 1]})
    assert order_objects(numbers, integers=True)["id"].to_list() == ["-1", "9", "10"]


def test_every_column_stands_by_row(catalog):
    assert len(catalog) == 6
    assert catalog.ids.tolist() == [10, 9, 100, 7]
    assert catalog.counts.tolist() == [0, 0, 4, 4, 0, 0]
    # 100 and 7 were never acted on: they share the table's unknown row, and keep a row of their own here.
    assert catalog.table_rows.tolist() == [0, 1, 2, 3, 1, 1]
    # A missing value, a rare value and an object without a catalog row are all unknown.
    assert catalog.features["brand"].tolist() == [[0], [1], [1], [1], [1], [2]]
    assert catalog.features["tags"].tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0], [2, 3, 1], [1, 0, 0], [3, 0, 0]]
    np.testing.assert_array_equal(catalog.dense["price"], np.float32([np.nan, np.nan, -2.0, np.nan, np.nan, 1.5]))


def test_types(catalog):
    assert (catalog.ids.dtype, catalog.counts.dtype, catalog.table_rows.dtype) == (np.int64, np.int64, np.int32)
    assert {values.dtype for values in catalog.features.values()} == {np.dtype(np.int32)}
    assert catalog.dense["price"].dtype == np.float32


def test_ids_that_are_text_stay_text():
    catalog = build_catalog(OBJECTS, SIDES, ENTITY, VOCABULARIES, integers=False)
    assert catalog.ids.dtype.kind == "T"
    assert catalog.ids.tolist() == ["10", "9", "100", "7"]


def test_the_width_is_what_the_longest_list_needs():
    none = SIDES.with_columns(pl.Series("feature/tags", [[], [], []], dtype=pl.List(pl.String)))
    assert build_catalog(OBJECTS, none, ENTITY, VOCABULARIES, integers=True).features["tags"].shape == (6, 1)


def test_an_entity_without_a_catalog_file():
    entity = Entity(id=ENTITY.id)
    catalog = build_catalog(OBJECTS, None, entity, VOCABULARIES, integers=True)
    assert (catalog.features, catalog.dense) == ({}, {})


@pytest.mark.parametrize("integers", [True, False])
def test_save_and_load(tmp_path, integers):
    catalog = build_catalog(OBJECTS, SIDES, ENTITY, VOCABULARIES, integers=integers)
    path = str(tmp_path / "catalog.npz")
    catalog.save(path)
    again = Catalog.load(path)
    for name in ("ids", "counts", "table_rows"):
        np.testing.assert_array_equal(getattr(again, name), getattr(catalog, name))
        assert getattr(again, name).dtype == getattr(catalog, name).dtype
    for name in ("features", "dense"):
        assert list(getattr(again, name)) == list(getattr(catalog, name))
        for column, values in getattr(catalog, name).items():
            np.testing.assert_array_equal(getattr(again, name)[column], values)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a file of arrays at .*x\.npz\. Found none\."):
        Catalog.load(str(tmp_path / "x.npz"))


def test_another_file(tmp_path):
    path = str(tmp_path / "x.npz")
    np.savez(path, ids=np.zeros(1))
    with pytest.raises(ValueError, match=r"Expected the arrays of a catalog in .*Missing: \['counts', 'table_rows'\]"):
        Catalog.load(path)


def counts(**numbers):
    return pl.DataFrame({"value": list(numbers), "count": list(numbers.values())})


def test_rows_go_by_count_then_by_value():
    vocabulary = build_vocabulary([counts(b=3, a=3, c=7, d=1)], min_count=1)
    assert vocabulary.values.to_list() == ["c", "a", "b", "d"]
    assert len(vocabulary) == 6
    assert vocabulary.lookup(pl.Series(["c", "a", "b", "d"])).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(("min_count", "expected"), [(1, ["a", "b", "c"]), (3, ["a", "b"]), (5, ["a"]), (6, [])])
def test_the_counts_of_all_uses_are_added(min_count, expected):
    vocabulary = build_vocabulary([counts(a=2, b=3), counts(a=3), counts(c=2)], min_count)
    assert vocabulary.values.to_list() == expected


def test_what_was_shown_and_chosen_counts_once():
    """Else a clicked id that is shown once would be known, and its neighbors in the list not."""
    schema = schema_from_dict(
        {
            "tables": {"item": {"dim": 2, "min_count": 2}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"click": {"entity": "item", "actions": ["click"]}},
            "tasks": {"next": {"group": "click", "candidates": "impressions"}},
        }
    )
    found = pl.DataFrame({"id": ["a", "b", "c", "d"], "count": [1, 0, 2, 0], "shown": [1, 1, 0, 2]})
    objects = {
        "item": EntityObjects(schema.entities["item"], found, None, integers=False, known=pl.Series(dtype=pl.String))
    }
    assert build_vocabularies(schema, objects, Counts(), {})["item"].values.to_list() == ["c", "d"]


def test_a_count_of_0_is_no_row():
    assert build_vocabulary([counts(a=0, b=1)], min_count=1).values.to_list() == ["b"]


def test_the_order_of_the_uses_does_not_matter():
    uses = [counts(x=1, y=2, z=1), counts(z=1, w=2), counts(v=9)]
    first = build_vocabulary(uses, 1).values.to_list()
    assert first == build_vocabulary(uses[::-1], 1).values.to_list() == ["v", "w", "y", "z", "x"]


def test_an_empty_vocabulary_has_the_reserved_rows():
    vocabulary = build_vocabulary([counts(a=1)], min_count=2)
    assert len(vocabulary) == 2
    assert vocabulary.lookup(pl.Series(["a"])).tolist() == [1]
