"""Where two schemas differ."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from atrank_tf.schema.reading import plain
from atrank_tf.schema.spec import Schema


class Difference(NamedTuple):
    """A place in a schema file, dotted, and what stands there in one schema and in another; `nothing` for a default."""

    place: str
    one: Any
    other: Any


def first_difference(one: Schema, other: Schema) -> Difference | None:
    """Returns the first place where two schemas differ, None if they do not.

    Moments that differ by rounding (1e-9) are equal: in which order numbers are added depends on the number of shards.
    """
    return _difference(plain(one), plain(other), "")


def _difference(one: Any, other: Any, place: str) -> Difference | None:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        inside = (
            _difference(one.get(key, "nothing"), other.get(key, "nothing"), f"{place}.{key}" if place else key)
            for key in sorted({*one, *other})
        )
        return next((found for found in inside if found), None)
    if isinstance(one, float) and isinstance(other, float):
        same = math.isclose(one, other, rel_tol=1e-9)
    else:
        same = one == other
    return None if same else Difference(place, one, other)
