"""Targets -> batches: windows become padded rows only here."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from atrank_tf.data.chunk import Chunk
from atrank_tf.data.targets import Targets
from atrank_tf.schema import Candidates, Schema


def user_inputs(chunk: Chunk, targets: Targets) -> dict[str, Any]:
    """Returns what the model reads of a user: per group id, action and timestamp as int64 [B, T_g], and the profile.

    Padded on the right with 0 to the batch's longest history of each group.
    """
    inputs: dict[str, Any] = {}
    for name, rows in chunk.groups.items():
        start, end = targets.starts[name], targets.ends[name]
        gather, mask = windows(start, end)
        for column in ("id", "action", "timestamp"):
            inputs[f"{name}_{column}"] = _pick(getattr(rows, column), gather, mask)
    for column, values in chunk.profile.items():
        inputs[f"user_{column}"] = tf.gather(values, targets.user)
    return inputs


def candidate_inputs(chunk: Chunk, targets: Targets, schema: Schema, task_name: str, negatives: Any) -> tuple[Any, ...]:
    """Returns the candidates of each target.

    Args:
        chunk: the chunk.
        targets: B targets.
        schema: the schema.
        task_name: the task.
        negatives: entity rows, int64 [B, n]; None for impressions.

    Returns:
        inputs (`<task>_candidates` int64 [B, N] and the context columns), labels float32 [B, N], weights float32
        [B, N]: 0 on padding. A sampled request has its positive first.
    """
    task = schema.tasks[task_name]
    if task.candidates is Candidates.SAMPLED:
        positive = tf.gather(chunk.groups[task.group].id, targets.index)[:, tf.newaxis]
        candidates = tf.concat([positive, negatives], axis=1)
        labels = tf.concat([tf.ones_like(positive, tf.float32), tf.zeros_like(negatives, tf.float32)], axis=1)
        return {f"{task_name}_candidates": candidates}, labels, tf.cast(candidates > 0, tf.float32)
    requests = chunk.requests[task_name]
    gather, mask = windows(tf.gather(requests.starts, targets.index), tf.gather(requests.ends, targets.index))
    inputs = {f"{task_name}_candidates": _pick(requests.id, gather, mask)}
    for column, values in requests.context.items():
        inputs[f"{task_name}_{column}"] = _pick(values, gather, mask)
    return inputs, _pick(tf.cast(requests.label, tf.float32), gather, mask), tf.cast(mask, tf.float32)


def no_candidates(schema: Schema, task_name: str, rows: Any) -> tuple[dict[str, Any], Any, Any]:
    """Returns `candidate_inputs` of a task that has no candidates in this batch: N = 0; `rows` is B."""
    task = schema.tasks[task_name]
    none = [rows, 0]
    empty = tf.zeros(none, tf.float32)
    inputs: dict[str, Any] = {f"{task_name}_candidates": tf.zeros(none, tf.int64)}
    for column, feature in task.context.features.items():
        values = none if feature.max_values == 1 else [*none, feature.max_values]
        inputs[f"{task_name}_{column}"] = tf.zeros(values, tf.int64)
    inputs |= {f"{task_name}_{column}": empty for column in task.context.dense}
    return inputs, empty, empty


def input_signature(schema: Schema, tasks: Mapping[str, Any] | tuple[str, ...]) -> dict[str, Any]:
    """Returns the shapes and dtypes of the model's inputs, as `tf.TensorSpec`s; every dimension is open."""
    signature: dict[str, Any] = {"now": tf.TensorSpec([None], tf.int64)}
    for name in schema.groups:
        for column in ("id", "action", "timestamp"):
            signature[f"{name}_{column}"] = tf.TensorSpec([None, None], tf.int64)
    for column, feature in schema.user.features.items():
        signature[f"user_{column}"] = tf.TensorSpec([None, feature.max_values], tf.int64)
    signature |= {f"user_{column}": tf.TensorSpec([None], tf.float32) for column in schema.user.dense}
    for name in tasks:
        signature[f"{name}_candidates"] = tf.TensorSpec([None, None], tf.int64)
        for column, feature in schema.tasks[name].context.features.items():
            shape = [None, None] if feature.max_values == 1 else [None, None, feature.max_values]
            signature[f"{name}_{column}"] = tf.TensorSpec(shape, tf.int64)
        for column in schema.tasks[name].context.dense:
            signature[f"{name}_{column}"] = tf.TensorSpec([None, None], tf.float32)
    return signature


def windows(start: Any, end: Any) -> tuple[Any, Any]:
    """Returns flat positions [B, longest] of each window and which of them are real, bool [B, longest]."""
    width = tf.reduce_max(tf.concat([end - start, tf.zeros([1], tf.int64)], axis=0))
    positions = start[:, tf.newaxis] + tf.range(width)[tf.newaxis, :]
    return positions, positions < end[:, tf.newaxis]


def _pick(values: Any, positions: Any, mask: Any) -> Any:
    """Returns `values` [V, ...] at `positions` [B, W], 0 where `mask` is False."""
    picked = tf.gather(values, tf.minimum(positions, tf.shape(values, tf.int64)[0] - 1))
    mask = tf.reshape(mask, [*tf.unstack(tf.shape(mask)), *[1] * (values.shape.rank - 1)])
    return tf.where(mask, picked, tf.zeros_like(picked))
