"""Reduces a schema to some of its groups, for a model that reads only these."""

from collections.abc import Sequence
from dataclasses import replace

from atrank_tf.schema.reading import suggestion
from atrank_tf.schema.spec import Schema


def select_groups(schema: Schema, groups: Sequence[str]) -> Schema:
    """Returns a schema of only these groups, in the order of the schema, with their tasks, entities and tables.

    Tasks of other groups are left out, and so are entities and tables that nothing names any more.

    Args:
        schema: a schema.
        groups: names of groups; empty for all, which returns the schema as it is.

    Raises:
        ValueError: the schema has no such group.
    """
    for name in groups:
        if name not in schema.groups:
            raise ValueError(f"Unknown group {name!r}. {suggestion(name, schema.groups)}")
    if not groups or set(groups) == set(schema.groups):
        return schema
    kept = {name: group for name, group in schema.groups.items() if name in groups}
    tasks = {name: task for name, task in schema.tasks.items() if task.group in kept}
    acted_on = {group.entity for group in kept.values()}
    entities = {name: entity for name, entity in schema.entities.items() if name in acted_on}
    features = [schema.user, *entities.values(), *(task.context for task in tasks.values())]
    used = {feature.table for each in features for feature in each.features.values()}
    used |= {entity.id.table for entity in entities.values()}
    tables = {name: table for name, table in schema.tables.items() if name in used}
    return replace(schema, tables=tables, entities=entities, groups=kept, tasks=tasks)
