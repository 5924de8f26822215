"""What of a schema says which place in a model's weights means what."""

from collections.abc import Mapping
from typing import Any

from atrank_tf.schema.spec import Features, Schema


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
