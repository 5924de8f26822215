"""Where two schemas differ, and what of a schema gives the rows of weights their meaning."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from atrank_tf.schema.reading import plain
from atrank_tf.schema.spec import Features, Schema


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


def layout(schema: Schema) -> dict[str, Any]:
    """Returns by dotted place what must be equal for one model's weights to mean the same in another.

    Sizes are left out, for shapes tell them; and what is declared of logs, requests and the split, for no weight
    depends on it.
    """
    found: dict[str, Any] = {"time.unit": schema.time.unit, "time.buckets": schema.time.buckets}
    sides: Mapping[str, Features] = (
        {f"entities.{name}": entity for name, entity in schema.entities.items()}
        | {f"tasks.{name}.context": task.context for name, task in schema.tasks.items()}
        | {"user": schema.user}
    )
    for place, side in sides.items():
        found[f"{place}.features"] = [(column, feature.table) for column, feature in side.features.items()]
        found[f"{place}.dense"] = list(side.dense)
    found |= {f"entities.{name}.id.table": entity.id.table for name, entity in schema.entities.items()}
    for name, group in schema.groups.items():
        found |= {f"groups.{name}.entity": group.entity, f"groups.{name}.actions": list(group.actions)}
    return found | {f"tasks.{name}.group": task.group for name, task in schema.tasks.items()}
