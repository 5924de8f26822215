"""The raw values behind a model's rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import RawValues


def test_it_takes_ids_of_all_entities_and_values_of_the_tables_that_requests_name(records: Any, tmp_path: Path) -> None:
    values = RawValues.of(records)
    assert set(values.ids) == {"product", "coupon"}
    assert values.ids["coupon"].dtype.kind == "i" and values.ids["product"].dtype.kind == "U"
    assert set(values.tables) == {"age", "channel"}
    assert set(values.tables["channel"]) == {"mail", "app"}
    values.save(str(tmp_path / "values.npz"))
    again = RawValues.load(str(tmp_path / "values.npz"))
    for found, expected in ((again.ids, values.ids), (again.tables, values.tables)):
        assert set(found) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
    assert [path.name for path in tmp_path.iterdir()] == ["values.npz"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected a file of arrays at .*nothing\.npz"):
        RawValues.load(str(tmp_path / "nothing.npz"))
