"""The declaration of a person's logs: entities, tables, groups, tasks, time and split."""

from atrank_tf.schema.difference import first_difference
from atrank_tf.schema.layout import layout
from atrank_tf.schema.reading import plain, read, suggestion
from atrank_tf.schema.selection import select_groups
from atrank_tf.schema.spec import (
    FIRST_ROW,
    PADDING,
    SECONDS,
    UNKNOWN,
    Candidates,
    DenseFeature,
    Entity,
    EntityId,
    Features,
    Group,
    IdFeature,
    Negatives,
    Schema,
    Split,
    SplitKind,
    Table,
    Task,
    Ties,
    Time,
)
from atrank_tf.schema.toml import dump_schema, dump_toml, load_schema, load_toml, schema_from_dict

__all__ = [
    "FIRST_ROW",
    "PADDING",
    "SECONDS",
    "UNKNOWN",
    "Candidates",
    "DenseFeature",
    "Entity",
    "EntityId",
    "Features",
    "Group",
    "IdFeature",
    "Negatives",
    "Schema",
    "Split",
    "SplitKind",
    "Table",
    "Task",
    "Ties",
    "Time",
    "dump_schema",
    "dump_toml",
    "first_difference",
    "layout",
    "load_schema",
    "load_toml",
    "plain",
    "read",
    "schema_from_dict",
    "select_groups",
    "suggestion",
]
