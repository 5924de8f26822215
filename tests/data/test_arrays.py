"""Named arrays in one file."""

from pathlib import Path

import numpy as np
import pytest

from atrank_tf.data import load_arrays, save_arrays


def test_what_was_saved_is_loaded_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = str(tmp_path / "values.npz")
    arrays = {"ids/item": np.array(["ä", "b/c"]), "counts": np.arange(3), "none": np.zeros((0, 2), np.float32)}
    save_arrays(path, {"old": np.ones(1)})
    save_arrays(path, arrays)
    found = load_arrays(path)
    assert set(found) == set(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
    assert [file.name for file in tmp_path.iterdir()] == ["values.npz"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected a file of arrays at .*nothing\.npz"):
        load_arrays(str(tmp_path / "nothing.npz"))
