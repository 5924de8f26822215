"""Texts of any length: each takes the room that it needs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.files import arrays_checksum, load_arrays, save_arrays, text_array
from atrank_tf.files.texts import text_of_bytes, text_to_bytes

TEXTS = ["", "a", "ä\n\r\\", "b" * 1000, "日本", "a\x00b"]


def test_offsets_and_bytes_by_hand() -> None:
    offsets, content = text_to_bytes(text_array(["ab", "", "ü"]))
    assert (offsets.tolist(), offsets.dtype) == ([0, 2, 2, 4], np.int64)
    assert content.tobytes() == "abü".encode()
    assert text_of_bytes(offsets, content).tolist() == ["ab", "", "ü"]


@settings(settings.get_profile("ci"), max_examples=50)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"))), at_once=st.integers(1, 4))
def test_any_texts_come_back(texts: list[str], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atrank_tf.files.texts._AT_ONCE", at_once)
        assert text_of_bytes(*text_to_bytes(text_array(texts))).tolist() == texts


@pytest.mark.parametrize("offsets", [[], [1, 3], [0, 2], [0, 3, 2, 3], [0, 4]])
def test_other_offsets_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="Expected offsets from 0 to 3, ascending"):
        text_of_bytes(np.array(offsets, np.int64), np.frombuffer(b"abc", np.uint8))


def test_a_file_keeps_texts_beside_other_arrays(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    save_arrays(path, {"ids/item": text_array(TEXTS), "ids/number": np.arange(2), "none": text_array([])})
    found = load_arrays(path)
    assert set(found) == {"ids/item", "ids/number", "none"}
    assert (found["ids/item"].tolist(), found["none"].tolist()) == (TEXTS, [])
    assert found["ids/item"].dtype == found["none"].dtype == np.dtypes.StringDType()


def test_one_long_text_makes_no_other_wide(tmp_path: Path) -> None:
    texts = text_array([*(f"{number:036}" for number in range(10_000)), "x" * 1000])
    save_arrays(str(tmp_path / "x.npz"), {"ids": texts})
    assert (tmp_path / "x.npz").stat().st_size < 50 * len(texts)  # Of fixed width it would be 4,000.


def test_the_checksum_is_of_the_texts_and_where_they_end() -> None:
    sums = {arrays_checksum({"ids": text_array(texts)}) for texts in (["ab", "c"], ["a", "bc"], ["abc"], ["ab", "d"])}
    assert len(sums) == 4
    assert arrays_checksum({"ids": text_array(TEXTS)}) == arrays_checksum({"ids": text_array(list(TEXTS))})
