"""Named arrays in one file."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.files import load_arrays, save_arrays


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


@pytest.mark.parametrize("count", [0, 1, 300])
def test_a_bit_that_hides_an_array_does_not_go_unnoticed(tmp_path: Path, count: int) -> None:
    path = tmp_path / "values.npz"
    save_arrays(str(path), {f"{number}": np.zeros(1) for number in range(count + 1)})
    assert len(load_arrays(str(path))) == count + 1
    content = path.read_bytes()
    entry = content.index(b"PK\x01\x02")  # The directory's first entry; at 32 the length of its comment.
    path.write_bytes(content[: entry + 33] + b"\x80" + content[entry + 34 :])
    if not count:
        assert list(load_arrays(str(path))) == ["0"]  # Nothing follows that it could hide.
        return
    with pytest.raises(ValueError, match=r"values\.npz is damaged: some arrays are not found; there are 0\. Again\."):
        load_arrays(str(path), "Again.")


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive" * 10])
def test_something_else_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz is damaged: .*\. Again\."):
        load_arrays(str(tmp_path / "x.npz"), "Again.")


def test_a_folder_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(tf.errors.FailedPreconditionError, match="Is a directory"):
        load_arrays(str(tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected a file of arrays at .*nothing\.npz"):
        load_arrays(str(tmp_path / "nothing.npz"))
