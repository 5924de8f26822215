"""JSON files that carry a checksum of what is in them, so that a changed digit is not read as another number."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

_SEAL = "sha256"


def dump_sealed(value: Mapping[str, Any]) -> str:
    """Returns the text of a JSON object with `sha256`, the checksum of everything else in it."""
    value = json.loads(json.dumps(value))  # As it will be read: keys are texts.
    return json.dumps({_SEAL: _checksum(value), **value}, indent=2, ensure_ascii=False) + "\n"


def load_sealed(path: str, advice: str) -> dict[str, Any]:
    """Reads what `dump_sealed` gave, without `sha256`. A file that has none is not compared.

    Args:
        path: a file.
        advice: what to do if it is damaged, a sentence.

    Raises:
        ValueError: the file is damaged, or was changed by hand; names the file.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        content = file.read()
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, or was changed by hand: not valid JSON, {error}. {advice}") from error
    if not isinstance(value, dict):
        raise ValueError(f"Expected a JSON object in {path}. Found: {type(value).__name__}. {advice}")
    seal = value.pop(_SEAL, None)
    if seal is not None and seal != _checksum(value):
        raise ValueError(f"{path} is damaged, or was changed by hand: its content does not fit its {_SEAL}. {advice}")
    return value


def _checksum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
