"""Refuses settings that do not fit the records, or would have no effect: whoever writes one expects something of it."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from atrank_tf.experiment.model_configs import RankerConfig
from atrank_tf.experiment.training import Training
from atrank_tf.schema import Candidates, Schema, select_groups, suggestion

if TYPE_CHECKING:
    from atrank_tf.experiment.experiment import Experiment

_Ignored = Iterator[tuple[str, str, str]]
"""Section, key, and why the key has no effect there."""


def check_settings(experiment: "Experiment", schema: Schema | None = None) -> None:
    """Checks that every key with another value than its default has an effect.

    Args:
        experiment: the experiment.
        schema: the schema of the records, of the tasks that are trained; None while it is not known.

    Raises:
        ValueError: a key has no effect; says why, and what it is for. Or a weight is of a task that is not trained.
    """
    if tasks := experiment.model.tasks or (schema.tasks if schema else ()):
        check_task_weights(experiment.training, tasks)
    for section, key, reason in (*_by_file(experiment), *_by_schema(experiment, schema)):
        settings = getattr(experiment, section)
        default = next(field for field in dataclasses.fields(settings) if field.name == key).default
        value: Any = getattr(settings, key)
        if value != default:
            shown = list(value) if isinstance(value, tuple) else value
            raise ValueError(f"{key} in [{section}] has no effect: {reason}. Received: {key}={shown!r}. Leave it out.")


def schema_that_is_read(schema: Schema, model: RankerConfig) -> Schema:
    """Returns the schema of the groups that a model reads, and of their tasks.

    Raises:
        ValueError: the schema has no such group or task, or the model does not read the group of a task.
    """
    for task in model.tasks:
        if task not in schema.tasks:
            raise ValueError(f"Unknown task {task!r} in [model]. {suggestion(task, schema.tasks)}")
        if model.groups and schema.tasks[task].group not in model.groups:
            raise ValueError(
                f"Task {task!r} ranks what group {schema.tasks[task].group!r} is about, so the model must read it. "
                f"Received: groups={list(model.groups)} in [model]."
            )
    return select_groups(schema, model.groups, affinity=model.reads_affinity)


def check_task_weights(training: Training, tasks: Collection[str]) -> None:
    """Raises ValueError if a weight is of none of these tasks."""
    for task in training.task_weights:
        if task not in tasks:
            raise ValueError(f"Unknown task {task!r} in [training.task_weights]. {suggestion(task, tasks)}")


def _by_file(experiment: "Experiment") -> _Ignored:
    model, training = experiment.model, experiment.training
    if "dnn" not in model.ranking:
        for key in ("hidden_units", "normalize_counts"):
            yield "model", key, 'it is of the ranking head "dnn", which is not in ranking'
    if experiment.name == "bpr_mf":
        yield "model", "combine", '"bpr_mf" reads no behaviors'
    if experiment.name == "timeline_atrank":
        yield "batching", "batch_size", '"timeline_atrank" has whole timelines in a batch: batch_tokens is the limit'
        reason = '"timeline_atrank" has the targets of all tasks in each batch: [training.task_weights] weighs them'
        yield "batching", "temperature", reason
    if not training.decay_at:
        yield "training", "decay", "decay_at names no share of the training at which the learning rate falls"


def _by_schema(experiment: "Experiment", schema: Schema | None) -> _Ignored:
    tasks = [schema.tasks[name] for name in experiment.model.tasks or schema.tasks] if schema else []
    if tasks and all(task.candidates is Candidates.IMPRESSIONS for task in tasks):
        reason = "the candidates of all tasks are impressions"
        for key in ("negatives", "correct_sampling"):
            yield "batching", key, f"{reason}, so none are sampled"
        yield "batching", "min_history", f"{reason}, of which all are trained on"
    if len(tasks) == 1:
        yield "batching", "temperature", "there is one task, which has the epoch to itself"
