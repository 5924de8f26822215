"""Converts nested dicts to frozen dataclasses and back; keys, types and defaults are those of the dataclasses."""

import dataclasses
import datetime
import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


def read(kind: type[T], raw: Any, place: str = "") -> T:
    """Builds a dataclass from nested dicts as `tomllib` or `json` give them.

    Three shorthands: a text in place of a dataclass sets its first required field (`"category"` for
    `{ table = "category" }`), a list of names in place of a mapping gives each the defaults, and a TOML date in place
    of an integer is Unix seconds (UTC).

    Args:
        kind: a dataclass whose fields are int, float, str, bool, enums, tuples, mappings or dataclasses.
        raw: the dict.
        place: where the dict stands in its file, dotted; for messages.

    Raises:
        ValueError: an unknown or missing key or a wrong type or value; says what was expected, what came and where.
    """
    try:
        found: T = _read(kind, raw, place)
    except RecursionError:  # Of a wrong value's text.
        raise ValueError(f"Expected a few tables within each other in {_at(place)}. Received: hundreds.") from None
    return found


def plain(value: Any, *, defaults: bool = False) -> Any:
    """Returns the nested dict of a dataclass: JSON and TOML types only.

    `read(type(value), plain(value)) == value`.

    Args:
        value: the dataclass.
        defaults: whether fields with their default value are included, so that a later version with other defaults
            reads the same.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: getattr(value, f.name) for f in dataclasses.fields(value) if defaults or not _is_default(f, value)
        }
        return {name: plain(item, defaults=defaults) for name, item in fields.items()}
    if isinstance(value, Mapping):
        return {key: plain(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, tuple):
        return [plain(item, defaults=defaults) for item in value]
    return value


def suggestion(name: str, valid: Iterable[str]) -> str:
    """Returns 'Did you mean "x"? Valid: x, y.' for an invalid name."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f'Did you mean "{near[0]}"? ' if near else ""
    return f"{hint}Valid: {', '.join(names) if names else 'none'}."


def _read(kind: Any, raw: Any, place: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, raw, place)
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _tuple(typing.get_args(kind)[0], raw, place)
    if origin is Mapping:
        return _mapping(typing.get_args(kind)[1], raw, place)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        values = [str(member) for member in kind]
        if raw not in values:
            raise ValueError(f"Unknown value {raw!r} for {place}. {suggestion(str(raw), values)}")
        return kind(raw)
    return _scalar(kind, raw, place)


def _dataclass(kind: Any, raw: Any, place: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    required = [name for name, f in fields.items() if _has_no_default(f)]
    if isinstance(raw, str) and required:
        raw = {required[0]: raw}
    if not isinstance(raw, Mapping):
        raise ValueError(f"Expected a table of keys at {_at(place)}: {', '.join(fields)}. Received: {raw!r}.")
    hints = typing.get_type_hints(kind)
    for key in raw:
        if key not in fields:
            raise ValueError(f'Unknown key "{key}" in {_at(place)}. {suggestion(key, fields)}')
    for name in required:
        if name not in raw:
            raise ValueError(f'Missing key "{name}" in {_at(place)}.')
    return kind(**{key: _read(hints[key], item, _inside(place, key)) for key, item in raw.items()})


def _mapping(kind: Any, raw: Any, place: str) -> dict[str, Any]:
    if isinstance(raw, list) and dataclasses.is_dataclass(kind):
        raw = {_scalar(str, name, place): {} for name in raw}
    if not isinstance(raw, Mapping):
        raise ValueError(f"Expected a table of keys at {_at(place)}. Received: {raw!r}.")
    return {key: _read(kind, item, _inside(place, key)) for key, item in raw.items()}


def _tuple(kind: Any, raw: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(raw, list | tuple):
        raise ValueError(f"Expected a list for {place}. Received: {raw!r}.")
    return tuple(_read(kind, item, place) for item in raw)


def _scalar(kind: Any, raw: Any, place: str) -> Any:
    if kind is int and isinstance(raw, datetime.date):
        time = raw if isinstance(raw, datetime.datetime) else datetime.datetime(raw.year, raw.month, raw.day)
        return int((time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp())
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) < _LARGEST:
        return float(raw)
    if not isinstance(raw, kind) or (kind is int and isinstance(raw, bool)):
        hint = " A date stands without quotation marks." if isinstance(raw, str) and _DATE.match(raw) else ""
        raise ValueError(f"Expected {_WORDS[kind]} for {place}. Received: {raw!r}.{hint}")
    return raw


_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LARGEST = 2**1023
"""Smallest whole number that is refused where a float is expected: from 2 ** 1024 on there is no float of it."""
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _at(place: str) -> str:
    return f"[{place}]" if place else "the top level"


def _inside(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _has_no_default(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _is_default(f: dataclasses.Field[Any], value: Any) -> bool:
    if _has_no_default(f):
        return False
    default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
    return bool(getattr(value, f.name) == default)
