"""Requests as `tf.train.Example`s -> the raw inputs of a signature."""

import math
from typing import Any

import tensorflow as tf

from atrank_tf.saved_model.raw_inputs import history_signature, id_type, sides
from atrank_tf.schema import Schema

_MISSING = {tf.string: "", tf.int64: 0, tf.float32: math.nan}


def parse_requests(examples: Any, schema: Schema, task: str) -> tuple[dict[str, Any], Any]:
    """Parses requests of several users, whose histories and candidates have lengths of their own.

    The features of an Example have the names of the raw inputs, each the list of its values: int64 for int64 ids and
    timestamps, float for numbers, bytes else. What is missing is empty: a group without its features is one in which
    the user did nothing. Only `now` must be there. A context column of several values is one flat list, and
    `<task>_<column>_lengths` says how many values each candidate has.

    Args:
        examples: serialized `tf.train.Example`s, string [B].
        schema: the model's schema.
        task: the task whose candidates are scored.

    Returns:
        The raw inputs, padded, as `request_signature` says; and how many candidates each user has, int64 [B].
    """
    candidates = f"{task}_candidates"
    spec: dict[str, Any] = {"now": tf.io.FixedLenFeature([], tf.int64)}
    ragged = {name: tensor.dtype for name, tensor in history_signature(schema).items() if name != "now"}
    ragged[candidates] = id_type(schema, task)
    several: list[str] = []
    for prefix, features, shape in sides(schema, task):
        for column, feature in features.features.items():
            name = f"{prefix}_{column}"
            if len(shape) == 1 and feature.max_values == 1:
                spec[name] = tf.io.FixedLenFeature([], tf.string, "")
            elif len(shape) == 2 and feature.max_values > 1:
                several.append(name)
            else:
                ragged[name] = tf.string
        for column in features.dense:
            name = f"{prefix}_{column}"
            if len(shape) == 1:
                spec[name] = tf.io.FixedLenFeature([], tf.float32, math.nan)
            else:
                ragged[name] = tf.float32
    spec |= {name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64) for name, dtype in ragged.items()}
    for name in several:
        lengths = tf.io.RaggedFeature.RowLengths(f"{name}_lengths")
        spec[name] = tf.io.RaggedFeature(tf.string, name, [lengths], row_splits_dtype=tf.int64)
    parsed = tf.io.parse_example(examples, spec)
    count = parsed[candidates].row_lengths()
    raw = dict(parsed)
    # By the schema: a group may be named as the task, or begin with its name.
    known = schema.tasks[task].context
    context = [f"{task}_{column}" for column in (*known.features, *known.dense)]
    for group in schema.groups:
        columns = [f"{group}_{column}" for column in ("id", "action", "timestamp")]
        with tf.control_dependencies([_same_lengths(columns, [parsed[name].row_lengths() for name in columns])]):
            raw |= {name: _padded(parsed[name]) for name in columns}
    width = tf.shape(_padded(parsed[candidates]))[1]
    for name in (candidates, *context):
        lengths = parsed[name].row_lengths()
        given = tf.where(lengths == 0, count, lengths)  # A column may be missing.
        with tf.control_dependencies([_same_lengths([candidates, name], [count, given])]):
            raw[name] = _widened(_padded(parsed[name]), width)
    raw |= {name: _padded(value) for name, value in raw.items() if isinstance(value, tf.RaggedTensor)}
    return raw, count


def _padded(value: Any) -> Any:
    return value.to_tensor(tf.constant(_MISSING[value.dtype], value.dtype))


def _widened(value: Any, width: Any) -> Any:
    """[B, W, ...] -> [B, width, ...], where `width` is at least W."""
    ends = [[0, 0], [0, width - tf.shape(value)[1]], *[[0, 0]] * (value.shape.rank - 2)]
    return tf.pad(value, ends, constant_values=tf.constant(_MISSING[value.dtype], value.dtype))


def _same_lengths(names: list[str], lengths: list[Any]) -> Any:
    first, *others = lengths
    same = tf.reduce_all([tf.reduce_all(first == other) for other in others])
    message = f"Expected as many values of {', '.join(names)} in each Example. Received lengths:"
    return tf.debugging.Assert(same, [message, *lengths])
