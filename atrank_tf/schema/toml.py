"""Reads and writes schema files, and TOML in general."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from atrank_tf.schema.checks import check
from atrank_tf.schema.reading import plain, read, suggestion
from atrank_tf.schema.spec import Schema

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def load_toml(path: str) -> dict[str, Any]:
    """Reads any TOML file into nested dicts.

    Raises:
        ValueError: the file is not TOML; names the file and the line.
        FileNotFoundError: there is no such file.
    """
    try:
        return tomllib.loads(_content(path).decode())
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError, a number of 4,300 digits.
        raise ValueError(f"{path} is not valid TOML: {error}.") from error


def _content(path: str) -> bytes:
    """Returns the bytes of a file; of a file system without TensorFlow, whose import takes seconds."""
    if "://" not in str(path):  # A `Path` is taken, too.
        if not Path(path).is_file():
            raise FileNotFoundError(f"Expected a TOML file at {path}. Found none.")
        return Path(path).read_bytes()

    import tensorflow as tf

    if not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
        raise FileNotFoundError(f"Expected a TOML file at {path}. Found none.")
    with tf.io.gfile.GFile(path, "rb") as file:
        content: bytes = file.read()
    return content


def load_schema(path: str) -> Schema:
    """Reads and checks a schema file.

    Args:
        path: a TOML file: one that a person wrote, or `schema.toml` of a records folder.

    Raises:
        ValueError: a key or value is wrong; names the key, its place, the nearest valid one and the file.
        FileNotFoundError: there is no such file.
    """
    raw = load_toml(path)
    try:
        return schema_from_dict(raw)
    except ValueError as error:
        raise ValueError(f"{error} (in {path})") from error


def check_sections(raw: Mapping[str, Any]) -> None:
    """Checks that a TOML file has the sections of an experiment file.

    Raises:
        ValueError: it has others.
    """
    sections = ("model", "batching", "training")
    for key in raw:
        if key not in sections:
            advice = suggestion(key, sections)
            if key in {each.name for each in fields(Schema)}:
                advice = "This is a schema, which prepare takes; train takes an experiment file, with [model]."
            raise ValueError(f'Unknown key "{key}" in the top level. {advice}')


def schema_from_dict(raw: Mapping[str, Any]) -> Schema:
    """Builds and checks a schema from nested dicts, as in a schema file.

    Raises:
        ValueError: a key or value is wrong; names the key, its place and the nearest valid one.
    """
    if "model" in raw and "entities" not in raw:
        raise ValueError(
            'Unknown key "model" in the top level. This is an experiment file, which train takes; prepare takes a '
            "schema, with [entities]."
        )
    schema = read(Schema, raw)
    check(schema)
    return schema


def dump_schema(schema: Schema) -> str:
    """Returns the TOML text of a schema; `load_schema` of that text gives an equal one."""
    tables: list[str] = []
    for room, entries in plain(schema).items():
        nested = {key: value for key, value in entries.items() if isinstance(value, dict)}
        single = {key: value for key, value in entries.items() if key not in nested}
        if room in ("user", "time", "split"):
            single, nested = entries, {}
        if single:
            tables.append(_table(room, single))
        tables += [_table(f"{room}.{toml_key(name)}", entry) for name, entry in nested.items()]
    return "\n".join(tables)


def dump_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the TOML text of tables of plain values: numbers, texts, lists and dicts."""
    return "\n".join(_table(toml_key(name), entries) for name, entries in tables.items())


def _table(heading: str, entries: Mapping[str, Any]) -> str:
    return "\n".join(
        [f"[{heading}]", *(f"{toml_key(key)} = {toml_value(value)}" for key, value in entries.items()), ""]
    )


def toml_key(name: str) -> str:
    """Returns a name as a key of TOML: bare, or in quotes."""
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def toml_value(value: Any) -> str:
    """Returns a plain value as TOML, in one line."""
    if isinstance(value, dict):
        inside = ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return _text(value)
    return repr(value).lower()  # True is true in TOML.


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # The one character that JSON lets be.
