"""The raw values behind a model's rows."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import IdMaps


def test_it_takes_ids_of_all_entities_and_values_of_all_tables(records: Any, tmp_path: Path) -> None:
    values = IdMaps.of(records)
    assert set(values.ids) == {"product", "coupon"}
    assert values.ids["coupon"].dtype.kind == "i" and values.ids["product"].dtype.kind == "T"
    assert set(values.tables) == set(records.schema.tables)
    assert set(values.tables["channel"]) == {"mail", "app"}
    assert set(values.request_tables(records.schema)) == {"age", "channel"}
    values.save(str(tmp_path / "values.npz"))
    again = IdMaps.load(str(tmp_path / "values.npz"))
    for found, expected in ((again.ids, values.ids), (again.tables, values.tables)):
        assert set(found) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    assert [path.name for path in tmp_path.iterdir()] == ["values.npz"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected a file of arrays at .*nothing\.npz"):
        IdMaps.load(str(tmp_path / "nothing.npz"))


@pytest.mark.parametrize(
    ("part", "name", "values", "message"),
    [
        ("ids", "product", None, r"ids of entity 'product' are 40 of string\. Received: none\."),
        ("ids", "product", np.array(["a"]), r"ids of entity 'product' are 40 of string\. Received: 1 of string\."),
        ("ids", "coupon", np.array(["a"] * 12), r"'coupon' are 12 of int64\. Received: 12 of string\."),
        (
            "tables",
            "channel",
            np.array(["mail"]),
            r"values of table 'channel' are 2 of string\. Received: 1 of string\.",
        ),
    ],
)
def test_values_of_another_model_are_refused_with_the_difference(
    records: Any, part: str, name: str, values: Any, message: str
) -> None:
    whole = IdMaps.of(records)
    whole.check_schema(records.schema)
    whole.check_schema(records.select(["redemption"]).schema)  # More than is asked for does no harm.
    changed = {**getattr(whole, part), name: values}
    if values is None:
        del changed[name]
    match = rf"Expected the raw values behind the model\. Its .*{message} Take the values of the model's own folder\."
    with pytest.raises(ValueError, match=match):
        replace(whole, **{part: changed}).check_schema(records.schema)


@pytest.mark.parametrize(
    ("part", "name", "what"),
    [("ids", "coupon", "ids of entity 'coupon'"), ("tables", "category", "values of table 'category'")],
)
def test_records_whose_rows_mean_something_else_are_refused(records: Any, part: str, name: str, what: str) -> None:
    values = IdMaps.of(records)
    values.check_records(records)
    values.check_records(records.select(["redemption"]))
    swapped = getattr(values, part)[name].copy()
    swapped[[1, 3]] = swapped[[3, 1]]
    changed = replace(values, **{part: {**getattr(values, part), name: swapped}})
    there = getattr(values, part)[name].tolist()[1]
    match = re.escape(f"Of the {what} row 3 is {swapped.tolist()[1]!r} in the model, {there!r} in the records.")
    with pytest.raises(ValueError, match=match):
        changed.check_records(records)
