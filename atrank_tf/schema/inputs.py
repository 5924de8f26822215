"""The inputs of a model: names, dtypes and shapes, in one list that batches, models and exports share.

Glossary of shapes, all without the batch dimension B:

    T_g         behaviors of group g, padded on the right to the longest history of the batch
    N           candidates of a request, padded on the right
    F           features of a task's affinity; written out, since a model is built for it
    max_values  most values of a categorical column; written out, since a model is built for it

Dimensions that vary from batch to batch, T_g and N, are None. A model reads rows of catalogs and tables, int64, and
numbers, float32. A request to an exported model has raw values instead, strings and numbers (`raw_*`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from atrank_tf.schema.affinity import affinity_features
from atrank_tf.schema.spec import Features, Schema

BEHAVIOR_COLUMNS = ("id", "action", "timestamp")
"""Columns of a behavior: its object, its action, its time."""

SEPARATOR = "__"
"""Joins the parts of an input's name: `purchase__id`, `user__income`."""

USER = "user"
"""First part of the names of the user's columns."""

REQUEST_TIME = "now"
"""Name of the time of a request, in Unix seconds."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a model.

    Args:
        name: its key in the dict that a model is called with.
        dtype: "int64", "float32" or "string".
        shape: without the batch dimension; None for a dimension that a batch chooses.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def join_names(*parts: str) -> str:
    """Returns the name of some parts; other parts never have the same name.

    The schema's checks see to it that no part contains `SEPARATOR` or ends with "_".
    """
    return SEPARATOR.join(parts)


def history_name(group: str, column: str) -> str:
    """Returns the name of a column of a group's behaviors; `column` is one of `BEHAVIOR_COLUMNS`."""
    return join_names(group, column)


def profile_name(column: str) -> str:
    """Returns the name of a column of `[user]`."""
    return join_names(USER, column)


def candidates_name(task: str) -> str:
    """Returns the name of the candidates of a task."""
    return join_names(task, "candidates")


def affinity_name(task: str) -> str:
    """Returns the name of the affinity of a task's candidates."""
    return join_names(task, "affinity")


def log_rate_name(task: str) -> str:
    """Returns the name of the log rate at which training draws each of a task's candidates, float32 [..., N]."""
    return join_names(task, "log_rate")


def context_name(task: str, column: str) -> str:
    """Returns the name of a column of `[tasks.<task>.context]`."""
    return join_names(task, column)


def request_times_name(task: str) -> str:
    """Returns the name of the times of a task's P requests in a batch of whole timelines, int64 [B, P]."""
    return join_names(task, REQUEST_TIME)


def seen_name(task: str, group: str) -> str:
    """Returns the name of how many of a group's behaviors each of P requests sees, in whole timelines, int64 [B, P]."""
    return join_names(task, group, "seen")


def history_specs(schema: Schema) -> list[InputSpec]:
    """Returns the specs of `now`, Unix seconds of the request, int64 [], and of each group's behaviors, int64 [T_g]."""
    behaviors = [
        InputSpec(history_name(group, column), "int64", (None,))
        for group in schema.groups
        for column in BEHAVIOR_COLUMNS
    ]
    return [InputSpec(REQUEST_TIME, "int64", ()), *behaviors]


def profile_specs(schema: Schema) -> list[InputSpec]:
    """Returns the specs of `[user]`: categorical columns int64 [max_values], even if that is 1; numeric float32 []."""
    user = schema.user
    categorical = [
        InputSpec(profile_name(column), "int64", (feature.max_values,)) for column, feature in user.features.items()
    ]
    return categorical + [InputSpec(profile_name(column), "float32", ()) for column in user.dense]


def candidate_specs(schema: Schema, task: str) -> list[InputSpec]:
    """Returns the specs of a task's candidates, int64 [N], of the columns of their context, and of their affinity.

    Affinity is float32 [N, F]; a task without has none. A categorical column of the context is int64 [N], or
    [N, max_values] where it may have several values; a numeric one float32 [N].
    """
    context = schema.tasks[task].context
    specs = [InputSpec(candidates_name(task), "int64", (None,))]
    for column, feature in context.features.items():
        values = () if feature.max_values == 1 else (feature.max_values,)
        specs.append(InputSpec(context_name(task, column), "int64", (None, *values)))
    specs += [InputSpec(context_name(task, column), "float32", (None,)) for column in context.dense]
    features = len(affinity_features(schema, task))
    return specs + ([InputSpec(affinity_name(task), "float32", (None, features))] if features else [])


def input_specs(schema: Schema, tasks: Iterable[str]) -> list[InputSpec]:
    """Returns the specs of all inputs of a model of these tasks."""
    candidates = [spec for task in tasks for spec in candidate_specs(schema, task)]
    return [*history_specs(schema), *profile_specs(schema), *candidates]


def raw_history_specs(schema: Schema) -> list[InputSpec]:
    """Returns `history_specs` of raw values: ids in their own dtype [T_g], actions string [T_g]."""
    specs = [InputSpec(REQUEST_TIME, "int64", ())]
    for name, group in schema.groups.items():
        dtypes = (schema.entities[group.entity].id.dtype, "string", "int64")
        specs += [
            InputSpec(history_name(name, column), dtype, (None,))
            for column, dtype in zip(BEHAVIOR_COLUMNS, dtypes, strict=True)
        ]
    return specs


def raw_profile_specs(schema: Schema) -> list[InputSpec]:
    """Returns `profile_specs` of raw values: string [], or [values] if `max_values` is above 1; float32 []."""
    return _raw_specs(schema.user, profile_name, ())


def raw_candidate_specs(schema: Schema, task: str) -> list[InputSpec]:
    """Returns `candidate_specs` of raw values.

    Candidates have the dtype of their ids, [N]; a categorical column of their context is string [N], or [N, values] if
    `max_values` is above 1; a numeric one float32 [N]. What is `of_request` has no N.
    """
    spec = schema.tasks[task]
    dtype = schema.entities[schema.groups[spec.group].entity].id.dtype
    once = [context_name(task, column) for column in spec.of_request]
    context = _raw_specs(spec.context, partial(context_name, task), (None,))
    context = [replace(each, shape=()) if each.name in once else each for each in context]
    return [InputSpec(candidates_name(task), dtype, (None,)), *context]


def raw_input_specs(schema: Schema, task: str) -> list[InputSpec]:
    """Returns the specs of all inputs of a request to an exported model that scores the candidates of a task."""
    return [*raw_history_specs(schema), *raw_profile_specs(schema), *raw_candidate_specs(schema, task)]


def _raw_specs(features: Features, name: Callable[[str], str], shape: tuple[None, ...]) -> list[InputSpec]:
    categorical = [
        InputSpec(name(column), "string", shape if feature.max_values == 1 else (*shape, None))
        for column, feature in features.features.items()
    ]
    return categorical + [InputSpec(name(column), "float32", shape) for column in features.dense]
