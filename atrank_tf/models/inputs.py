"""Keras inputs of a model, made of the list in `atrank_tf.schema.inputs`; columns of several groups; calls by name."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from atrank_tf.schema import FIRST_ROW, Schema
from atrank_tf.schema.inputs import (
    BEHAVIOR_COLUMNS,
    InputSpec,
    candidate_specs,
    history_name,
    history_specs,
    input_specs,
    profile_specs,
)
from atrank_tf.types import Tensor


def history_inputs(schema: Schema) -> dict[str, Tensor]:
    """Returns the inputs of users' histories, as `history_specs` lists them."""
    return _inputs(history_specs(schema))


def profile_inputs(schema: Schema) -> dict[str, Tensor]:
    """Returns the inputs of user features, as `profile_specs` lists them."""
    return _inputs(profile_specs(schema))


def candidate_inputs(schema: Schema, task: str) -> dict[str, Tensor]:
    """Returns the inputs of a task's candidates and their context, as `candidate_specs` lists them."""
    return _inputs(candidate_specs(schema, task))


def model_inputs(schema: Schema, tasks: Sequence[str]) -> dict[str, Tensor]:
    """Returns all inputs of a model of these tasks."""
    return _inputs(input_specs(schema, tasks))


def side_by_side(inputs: Mapping[str, Tensor], groups: Sequence[str], column: str) -> Tensor:
    """Concatenates a column ("id", "action" or "timestamp") of the histories of all groups, int64 [B, T]."""
    return concat([inputs[history_name(name, column)] for name in groups])


def group_numbers(inputs: Mapping[str, Tensor], groups: Sequence[str]) -> Tensor:
    """Returns the index of each behavior's group, from 0, int64 [B, T]."""
    return concat([ops.full_like(inputs[history_name(name, "id")], number) for number, name in enumerate(groups)])


def content(schema: Schema, columns: Mapping[str, Tensor], ordered: Collection[str] = ()) -> Tensor:
    """Returns a sort key of the behaviors of one timestamp, by group (its name), action and object, int64 [B, T].

    Args:
        schema: a prepared schema.
        columns: of the behaviors of all groups: `id`, `action`, and `group`, its index; int64 [B, T] each.
        ordered: groups whose order within a timestamp counts: they come first, and their behaviors have equal keys.
    """
    actions = FIRST_ROW + max(len(each.actions) for each in schema.groups.values())
    rows = max(entity.rows for entity in schema.entities.values())
    names = sorted(schema.groups, key=lambda name: (name not in ordered, name))
    number = ops.take(np.array([names.index(name) for name in schema.groups]), columns["group"])
    own = columns["action"] * rows + columns["id"]
    if ordered:
        own = ops.where(number < len(ordered), 0, own)
    return number * (actions * rows) + own


def behavior_columns(inputs: Mapping[str, Tensor], groups: Sequence[str]) -> dict[str, Tensor]:
    """Returns `id`, `action`, `timestamp` and `group` of the behaviors of all groups, int64 [B, T] each."""
    columns = {column: side_by_side(inputs, groups, column) for column in BEHAVIOR_COLUMNS}
    return columns | {"group": group_numbers(inputs, groups)}


def concat(parts: list[Tensor]) -> Tensor:
    """Concatenates tensors over time."""
    return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def traced(model: Any) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """Returns a graph function of a Keras model, traced once for batches of any size; it ignores other inputs."""
    specs = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs}
    function = tf.function(lambda inputs: model(inputs, training=False), input_signature=[specs], autograph=False)
    return lambda inputs: function({name: tf.cast(inputs[name], specs[name].dtype) for name in specs})


def _inputs(specs: Iterable[InputSpec]) -> dict[str, Tensor]:
    return {spec.name: keras.Input(spec.shape, dtype=spec.dtype, name=spec.name) for spec in specs}
