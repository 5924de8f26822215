"""JSON files that know when they have been changed."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from atrank_tf.files import load_json, write_json


def load(tmp_path: Path, content: bytes) -> dict[str, Any]:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    return load_json(path, "Write it again.")


def written(tmp_path: Path, value: Any) -> str:
    write_json(tmp_path / "written.json", value)
    return (tmp_path / "written.json").read_text()


@pytest.mark.parametrize("value", [{}, {"é": [1, 0.1, 1e-9, None, True], "a": {"b": "c"}}, {"b": {10: 1, 9: (2, 3)}}])
def test_what_is_written_is_read_without_its_checksum(tmp_path: Path, value: Any) -> None:
    text = written(tmp_path, value)
    assert '"sha256"' in text
    found = load(tmp_path, text.encode())
    assert found == {key: {"10": 1, "9": [2, 3]} if key == "b" else item for key, item in value.items()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["written.json", "x.json"]


def test_what_is_not_a_number_is_null(tmp_path: Path) -> None:
    text = written(tmp_path, {"history": [{"val_auc": math.nan, "loss": 0.5}], "pair": (math.nan, 1)})
    json.loads(text, parse_constant=pytest.fail)
    assert load(tmp_path, text.encode()) == {"history": [{"val_auc": None, "loss": 0.5}], "pair": [None, 1]}


def test_how_it_is_laid_out_does_not_matter(tmp_path: Path) -> None:
    text = written(tmp_path, {"a": [1, 2]})
    assert load(tmp_path, " ".join(text.split()).encode()) == {"a": [1, 2]}


def test_a_file_without_a_checksum_is_taken_as_it_is(tmp_path: Path) -> None:
    assert load(tmp_path, b'{"a": 1}') == {"a": 1}


def test_a_changed_digit_and_a_cut_end_are_refused(tmp_path: Path) -> None:
    text = written(tmp_path, {"auc": 0.71})
    for changed in (text.replace("0.71", "0.72"), text[:-4]):
        with pytest.raises(ValueError, match=r"x\.json is damaged, or was changed by hand: .*Write it again\.$"):
            load(tmp_path, changed.encode())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b'{"a": "\xff"}', r"x\.json is damaged, or was changed by hand: not valid JSON, "),
        (b"[" * 100_000, r"x\.json is damaged, or was changed by hand: not valid JSON, "),
        (b"[]", r"Expected a JSON object in .*x\.json\. Found: list\."),
    ],
)
def test_what_is_refused_says_what_to_do(tmp_path: Path, content: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match + r".*Write it again\.$"):
        load(tmp_path, content)
