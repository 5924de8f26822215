"""Rows get the names that stand in the catalog files of `tests/conftest.py`."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from atrank_tf.explanation import Names


def test_an_object_has_the_names_of_its_catalog_row(records: Any, names: Names, logs: Path) -> None:
    products = pl.read_csv(logs / "catalog/product.csv").rows_by_key("product_id", named=True, unique=True)
    rows = np.arange(2, len(records.catalogs["product"]))
    for row, thing in zip(rows, names.things("product", rows), strict=True):
        assert thing.id == records.catalogs["product"].ids[row - 2]
        assert thing.features == {"category": (products[thing.id]["category"],)}
        assert thing.categories == thing.features["category"]
        assert thing.label == f"{thing.categories[0]} ({thing.id})"


def test_several_values_are_all_named(records: Any, names: Names) -> None:
    row = 2 + list(records.catalogs["coupon"].ids).index(3)
    assert names.things("coupon", np.array([row]))[0] == ("3", {"category": ("c3", "c0")}, ("c3", "c0"), "")


def test_what_has_no_name_is_called_unknown(names: Names) -> None:
    [unknown] = names.things("product", np.array([1]))
    assert unknown == ("(unknown)", {}, (), "") and unknown.label == "(unknown)"
    assert names.action("purchase", 1) == "(unknown)"
    assert [names.action("purchase", row) for row in (2, 3)] == ["regular", "discounted"]


def test_the_category_is_a_table_of_side_features(records: Any, names: Names) -> None:
    assert names.category == "category"
    assert Names(records, "category").category == "category"
    with pytest.raises(ValueError, match="Unknown category 'offer'"):  # A link, whose values have no names.
        Names(records, "offer")
    with pytest.raises(ValueError, match=r"Unknown category 'categry'\. Did you mean \"category\"\?"):
        Names(records, "categry")


def test_rows_of_a_table_are_named_in_order(records: Any, names: Names) -> None:
    assert names.of_table("category", 4) == ["(padding)", "(unknown)", *records.vocabularies["category"][:2]]
    found = names.of_table("product", 5)
    assert found[2:] == [names.things("product", np.array([row]))[0].label for row in (2, 3, 4)]
    assert names.of_table("category", 1) == ["(padding)"]
