"""JSON files that know when they have been changed."""

import math
from pathlib import Path
from typing import Any

import pytest

from atrank_tf.data.sealed_json import dump_sealed, load_sealed


def load(tmp_path: Path, content: bytes) -> dict[str, Any]:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    return load_sealed(str(path), "Write it again.")


@pytest.mark.parametrize("value", [{}, {"é": [1, 0.1, 1e-9, None, True], "a": {"b": "c"}}, {"b": {10: 1, 9: (2, 3)}}])
def test_what_is_written_is_read_without_its_checksum(tmp_path: Path, value: Any) -> None:
    text = dump_sealed(value)
    assert '"sha256"' in text
    found = load(tmp_path, text.encode())
    assert found == {key: {"10": 1, "9": [2, 3]} if key == "b" else item for key, item in value.items()}


def test_not_a_number_is_a_value_too(tmp_path: Path) -> None:
    assert math.isnan(load(tmp_path, dump_sealed({"auc": math.nan}).encode())["auc"])


def test_how_it_is_laid_out_does_not_matter(tmp_path: Path) -> None:
    text = dump_sealed({"a": [1, 2]})
    assert load(tmp_path, " ".join(text.split()).encode()) == {"a": [1, 2]}


def test_a_file_without_a_checksum_is_taken_as_it_is(tmp_path: Path) -> None:
    assert load(tmp_path, b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (dump_sealed({"auc": 0.71}).replace("0.71", "0.72").encode(), r"x\.json is damaged, or was changed by hand"),
        (dump_sealed({"auc": 0.71})[:-4].encode(), r"x\.json is damaged, or was changed by hand: not valid JSON, "),
        (b'{"a": "\xff"}', r"x\.json is damaged, or was changed by hand: not valid JSON, "),
        (b"[" * 100_000, r"x\.json is damaged, or was changed by hand: not valid JSON, "),
        (b"[]", r"Expected a JSON object in .*x\.json\. Found: list\."),
    ],
)
def test_what_is_refused_says_what_to_do(tmp_path: Path, content: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match + r".*Write it again\.$"):
        load(tmp_path, content)
