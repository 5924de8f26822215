"""The model's inputs, the same in `fit`, `predict` and behind REST."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.schema import Features, Schema


def history_inputs(schema: Schema) -> dict[str, Any]:
    """Returns the inputs that say what a user did: `now` [B], and `<group>_id|_action|_timestamp` [B, T_g], int64."""
    inputs = {"now": keras.Input((), dtype="int64", name="now")}
    for group in schema.groups:
        for column in ("id", "action", "timestamp"):
            name = f"{group}_{column}"
            inputs[name] = keras.Input((None,), dtype="int64", name=name)
    return inputs


def profile_inputs(schema: Schema) -> dict[str, Any]:
    """Returns the inputs that say who a user is: `user_<column>` int64 [B, max_values] or float32 [B]."""
    inputs = {}
    for column, feature in schema.user.features.items():
        inputs[f"user_{column}"] = keras.Input((feature.max_values,), dtype="int64", name=f"user_{column}")
    for column in schema.user.dense:
        inputs[f"user_{column}"] = keras.Input((), dtype="float32", name=f"user_{column}")
    return inputs


def candidate_names(schema: Schema, task: str) -> list[str]:
    """Returns the names of the inputs of one task."""
    context = schema.tasks[task].context
    return [f"{task}_{name}" for name in ("candidates", *context.features, *context.dense)]


def candidate_inputs(schema: Schema, task: str) -> dict[str, Any]:
    """Returns the inputs of one task: `<task>_candidates` int64 [B, N] and `<task>_<column>` of its context.

    A categorical context column is int64 [B, N], or [B, N, max_values] where it has several values; a numeric one is
    float32 [B, N].
    """
    name = f"{task}_candidates"
    context: Features = schema.tasks[task].context
    inputs = {name: keras.Input((None,), dtype="int64", name=name)}
    for column, feature in context.features.items():
        shape = (None,) if feature.max_values == 1 else (None, feature.max_values)
        inputs[f"{task}_{column}"] = keras.Input(shape, dtype="int64", name=f"{task}_{column}")
    for column in context.dense:
        inputs[f"{task}_{column}"] = keras.Input((None,), dtype="float32", name=f"{task}_{column}")
    return inputs


def model_inputs(schema: Schema, tasks: Sequence[str]) -> dict[str, Any]:
    """Returns every input of a model of these tasks."""
    inputs = history_inputs(schema) | profile_inputs(schema)
    for task in tasks:
        inputs |= candidate_inputs(schema, task)
    return inputs


def side_by_side(inputs: Mapping[str, Any], groups: Sequence[str], column: str) -> Any:
    """Returns a column of the histories of all groups, int64 [B, T]: "id", "action" or "timestamp"."""
    return join([inputs[f"{name}_{column}"] for name in groups])


def group_numbers(inputs: Mapping[str, Any], groups: Sequence[str]) -> Any:
    """Returns the number of the group, from 0, in each place of the histories of all groups, int64 [B, T]."""
    return join([ops.full_like(inputs[f"{name}_id"], number) for number, name in enumerate(groups)])


def join(parts: list[Any], axis: int = 1) -> Any:
    """Joins tensors, by default those of the groups over time."""
    return ops.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]
