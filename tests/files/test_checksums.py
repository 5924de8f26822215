"""SHA-256 of files, and of what arrays hold."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from atrank_tf.files import arrays_checksum, checksums, file_checksum

VALUES = np.arange(6).reshape(2, 3)


@pytest.mark.parametrize("block", [1, 4, 1 << 24])
def test_a_file_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(checksums, "_BLOCK", block)
    path = tmp_path / "file"
    for content in (b"", b"ab\n\x00cd"):
        path.write_bytes(content)
        assert file_checksum(str(path)) == hashlib.sha256(content).hexdigest()


def test_of_arrays_neither_their_order_nor_their_layout_in_memory_counts() -> None:
    arrays = {"a": VALUES, "b": np.array(["x", "ä"])}
    other = {"b": np.array(["x", "ä"]), "a": np.asfortranarray(VALUES)}
    assert arrays_checksum(arrays) == arrays_checksum(other)


@pytest.mark.parametrize(
    "other", [{"b": VALUES}, {"a": VALUES.astype(np.int32)}, {"a": VALUES.reshape(3, 2)}, {"a": VALUES + 1}, {}]
)
def test_of_arrays_names_types_shapes_and_values_count(other: dict[str, np.ndarray]) -> None:
    assert arrays_checksum({"a": VALUES}) != arrays_checksum(other)
