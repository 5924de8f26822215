"""The model's inputs, the same in `fit`, `predict` and behind REST."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from atrank_tf.schema import Schema
from atrank_tf.schema.inputs import InputSpec, candidate_specs, history_name, history_specs, input_specs, profile_specs


def history_inputs(schema: Schema) -> dict[str, Any]:
    """Returns the inputs that say what a user did, as `history_specs` lists them."""
    return _inputs(history_specs(schema))


def profile_inputs(schema: Schema) -> dict[str, Any]:
    """Returns the inputs that say who a user is, as `profile_specs` lists them."""
    return _inputs(profile_specs(schema))


def candidate_names(schema: Schema, task: str) -> list[str]:
    """Returns the names of the inputs of one task."""
    return [spec.name for spec in candidate_specs(schema, task)]


def candidate_inputs(schema: Schema, task: str) -> dict[str, Any]:
    """Returns the inputs of one task, as `candidate_specs` lists them."""
    return _inputs(candidate_specs(schema, task))


def model_inputs(schema: Schema, tasks: Sequence[str]) -> dict[str, Any]:
    """Returns every input of a model of these tasks."""
    return _inputs(input_specs(schema, tasks))


def side_by_side(inputs: Mapping[str, Any], groups: Sequence[str], column: str) -> Any:
    """Returns a column of the histories of all groups, int64 [B, T]: "id", "action" or "timestamp"."""
    return join([inputs[history_name(name, column)] for name in groups])


def group_numbers(inputs: Mapping[str, Any], groups: Sequence[str]) -> Any:
    """Returns the number of the group, from 0, in each place of the histories of all groups, int64 [B, T]."""
    return join([ops.full_like(inputs[history_name(name, "id")], number) for number, name in enumerate(groups)])


def join(parts: list[Any], axis: int = 1) -> Any:
    """Joins tensors, by default those of the groups over time."""
    return ops.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]


def _inputs(specs: Iterable[InputSpec]) -> dict[str, Any]:
    return {spec.name: keras.Input(spec.shape, dtype=spec.dtype, name=spec.name) for spec in specs}
