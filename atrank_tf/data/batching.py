"""Targets -> batches: windows become padded rows only here."""

from typing import Any

import tensorflow as tf

from atrank_tf.data.chunk import Chunk
from atrank_tf.data.targets import Targets
from atrank_tf.schema import Candidates, Schema
from atrank_tf.schema.inputs import (
    BEHAVIOR_COLUMNS,
    candidate_specs,
    candidates_name,
    context_name,
    history_name,
    profile_name,
)


def user_inputs(chunk: Chunk, targets: Targets) -> dict[str, Any]:
    """Returns the inputs of `history_specs` and `profile_specs`, but for `now`.

    Padded on the right with 0 to the batch's longest history of each group.
    """
    inputs: dict[str, Any] = {}
    for name, rows in chunk.groups.items():
        start, end = targets.starts[name], targets.ends[name]
        gather, mask = windows(start, end)
        for column in BEHAVIOR_COLUMNS:
            inputs[history_name(name, column)] = _pick(getattr(rows, column), gather, mask)
    for column, values in chunk.profile.items():
        inputs[profile_name(column)] = tf.gather(values, targets.user)
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
        the inputs of `candidate_specs`, labels float32 [B, N], weights float32
        [B, N]: 0 on padding. A sampled request has its positive first.
    """
    task = schema.tasks[task_name]
    if task.candidates is Candidates.SAMPLED:
        positive = tf.gather(chunk.groups[task.group].id, targets.index)[:, tf.newaxis]
        candidates = tf.concat([positive, negatives], axis=1)
        labels = tf.concat([tf.ones_like(positive, tf.float32), tf.zeros_like(negatives, tf.float32)], axis=1)
        return {candidates_name(task_name): candidates}, labels, tf.cast(candidates > 0, tf.float32)
    requests = chunk.requests[task_name]
    gather, mask = windows(tf.gather(requests.starts, targets.index), tf.gather(requests.ends, targets.index))
    inputs = {candidates_name(task_name): _pick(requests.id, gather, mask)}
    for column, values in requests.context.items():
        inputs[context_name(task_name, column)] = _pick(values, gather, mask)
    return inputs, _pick(tf.cast(requests.label, tf.float32), gather, mask), tf.cast(mask, tf.float32)


def no_candidates(schema: Schema, task_name: str, rows: Any) -> tuple[dict[str, Any], Any, Any]:
    """Returns `candidate_inputs` of a task that has no candidates in this batch: N = 0; `rows` is B."""
    inputs = {
        spec.name: tf.zeros([rows, *(0 if size is None else size for size in spec.shape)], spec.dtype)
        for spec in candidate_specs(schema, task_name)
    }
    empty = tf.zeros([rows, 0], tf.float32)
    return inputs, empty, empty


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
