"""SHA-256 of files and arrays, and JSON that holds its own."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.files.texts import is_text_array, text_to_bytes
from atrank_tf.files.whole import write_text

_BLOCK = 1 << 24


def file_checksum(path: str) -> str:
    """Returns the SHA-256 of a file: about half a second for 1 GiB that is in memory already."""
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def arrays_checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of named arrays: of their names, dtypes, shapes and values, not of how they are packed."""
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(json.dumps([name, values.dtype.str, values.shape]).encode())
        for part in text_to_bytes(values) if is_text_array(values) else (values,):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


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
