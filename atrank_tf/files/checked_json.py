"""Writes and reads JSON files that carry a checksum, so that a changed digit is not read as another number."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from atrank_tf.files.whole_file import write_text

_CHECKSUM = "sha256"


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object with `sha256`, the checksum of everything else in it, whole or not at all.

    NaN, which JSON does not know, is written as null.
    """
    value = json.loads(json.dumps(json_types(value)))  # As it will be read: keys are texts.
    write_text(path, json.dumps({_CHECKSUM: _checksum(value), **value}, indent=2, ensure_ascii=False) + "\n")


def load_json(path: str | Path, advice: str) -> dict[str, Any]:
    """Reads what `write_json` wrote, without `sha256`. A file that has none is not compared.

    Args:
        path: a file.
        advice: what to do if it is damaged, a sentence.

    Raises:
        ValueError: the file is damaged, or was changed by hand; names the file.
    """
    with tf.io.gfile.GFile(str(path), "rb") as file:
        content = file.read()
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, or was changed by hand: not valid JSON, {error}. {advice}") from error
    if not isinstance(value, dict):
        raise ValueError(f"Expected a JSON object in {path}. Found: {type(value).__name__}. {advice}")
    checksum = value.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(value):
        raise ValueError(
            f"{path} is damaged, or was changed by hand: its content does not fit its {_CHECKSUM}. {advice}"
        )
    return value


def json_types(value: Any) -> Any:
    """Returns a value of nested mappings and sequences as JSON has it: NaN is None."""
    if isinstance(value, Mapping):
        return {key: json_types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_types(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _checksum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
