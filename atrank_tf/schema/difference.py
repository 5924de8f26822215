"""Compares schemas: everything in them, or only what gives the weights of a model their meaning."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from atrank_tf.schema.reading import plain
from atrank_tf.schema.spec import Features, Schema

F = TypeVar("F", bound=Features)


class Difference(NamedTuple):
    """A difference of two schemas: its dotted place in the file, and the value in each; "nothing" for a default."""

    place: str
    one: Any
    other: Any


def first_difference(one: Schema, other: Schema) -> Difference | None:
    """Returns the first place where two schemas differ, None if they do not.

    Means and variances that differ by rounding (1e-9) are equal: the number of shards changes the order of sums.
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


def as_written(schema: Schema) -> Schema:
    """Returns a schema without what prepare fills in."""
    return replace(
        schema,
        tables={name: replace(table, rows=0) for name, table in schema.tables.items()},
        entities={
            name: replace(_unmeasured(entity), rows=0, id=replace(entity.id, dtype=""))
            for name, entity in schema.entities.items()
        },
        tasks={name: replace(task, context=_unmeasured(task.context)) for name, task in schema.tasks.items()},
        user=_unmeasured(schema.user),
    )


def _unmeasured(features: F) -> F:
    return replace(
        features, dense={name: replace(dense, mean=0.0, variance=1.0) for name, dense in features.dense.items()}
    )


def layout(schema: Schema) -> dict[str, Any]:
    """Returns the part of a schema that gives weights their meaning: dotted place -> value.

    Where it is equal for two models, weights of one mean the same in the other. Sizes are left out, since shapes show
    them; so is what the schema says of logs, requests and the split, since no weight depends on it.
    """
    found: dict[str, Any] = {"time.unit": schema.time.unit, "time.buckets": schema.time.buckets}
    sides: Mapping[str, Features] = (
        {f"entities.{name}": entity for name, entity in schema.entities.items()}
        | {f"tasks.{name}.context": task.context for name, task in schema.tasks.items()}
        | {"user": schema.user}
    )
    for place, side in sides.items():
        found[f"{place}.features"] = [(column, feature.table) for column, feature in side.features.items()]
        found[f"{place}.dense"] = [(column, str(dense.transform)) for column, dense in side.dense.items()]
    found |= {f"tables.{name}.hash": [table.hash, table.hashes] for name, table in schema.tables.items()}
    found |= {f"tables.{name}.dim = 0": not table.dim for name, table in schema.tables.items()}
    found |= {f"entities.{name}.id.table": entity.id.table for name, entity in schema.entities.items()}
    for name, group in schema.groups.items():
        found |= {f"groups.{name}.entity": group.entity, f"groups.{name}.actions": list(group.actions)}
    return found | {f"tasks.{name}.group": task.group for name, task in schema.tasks.items()}
