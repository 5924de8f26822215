"""Raw ids and values, as logs or `tf.train.Example`s hold them -> the inputs of a model."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.data import IdMaps
from atrank_tf.schema import FIRST_ROW, PADDING, UNKNOWN, Features, Schema

_BEHAVIOR = ("id", "action", "timestamp")
_MISSING = {tf.string: "", tf.int64: 0, tf.float32: math.nan}


def history_signature(schema: Schema) -> dict[str, Any]:
    """Returns the raw inputs of users' histories, as `tf.TensorSpec`s by name."""
    signature = {"now": tf.TensorSpec([None], tf.int64, "now")}
    for group in schema.groups:
        for name, dtype in zip(_columns(group), (_id_dtype(schema, group), tf.string, tf.int64), strict=True):
            signature[name] = tf.TensorSpec([None, None], dtype, name)
    return signature


def candidate_signature(schema: Schema, task: str) -> dict[str, Any]:
    """Returns the raw inputs of users and of a task's candidates, as `tf.TensorSpec`s by name."""
    name = f"{task}_candidates"
    signature = {name: tf.TensorSpec([None, None], _id_dtype(schema, schema.tasks[task].group), name)}
    for prefix, features, shape in _features(schema, task):
        for column, feature in features.features.items():
            wide = [*shape, None] if feature.max_values > 1 else shape
            signature[f"{prefix}_{column}"] = tf.TensorSpec(wide, tf.string, f"{prefix}_{column}")
        for column in features.dense:
            signature[f"{prefix}_{column}"] = tf.TensorSpec(shape, tf.float32, f"{prefix}_{column}")
    return signature


def request_signature(schema: Schema, task: str) -> dict[str, Any]:
    """Returns the raw inputs of a task's signature, as `tf.TensorSpec`s by name."""
    return history_signature(schema) | candidate_signature(schema, task)


class Preprocessor:
    """Maps raw ids and values to the inputs of a model, inside the graph of an export.

    B users, T_g behaviors of group g, N candidates, W values of a multi-valued column. What the hash tables do not hold
    is `UNKNOWN`.

    Args:
        schema: the model's schema.
        values: the raw values behind its rows.

    Attributes:
        tables: the hash tables, which a SavedModel must track.
    """

    def __init__(self, schema: Schema, values: IdMaps) -> None:
        self._schema = schema
        self._ids = {name: _hash_table(ids) for name, ids in values.ids.items()}
        self._features = {name: _hash_table(known) for name, known in values.request_tables(schema).items()}
        self._actions = {name: _hash_table(np.array(group.actions)) for name, group in schema.groups.items()}
        self.tables = [*self._ids.values(), *self._features.values(), *self._actions.values()]

    def history(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a model's history inputs.

        Args:
            raw: tensors as `history_signature` says. Timestamp 0 is padding.

        Returns:
            `now` int64 [B]; of each group id, action and timestamp, int64 [B, min(T_g, max_length)], the newest
            behaviors.
        """
        found: dict[str, Any] = {"now": raw["now"]}
        for name, group in self._schema.groups.items():
            columns = [raw[column] for column in _columns(name)]
            with tf.control_dependencies([_one_shape(name, columns)]):
                newest = newest_indices(columns[2], group.max_length)
            ids, actions, timestamp = (tf.gather(column, newest, batch_dims=1) for column in columns)
            # Any id may be real, 0 too; no behavior is of 1970-01-01 00:00:00.
            real = timestamp > 0
            rows, actions = self._ids[group.entity].lookup(ids), self._actions[name].lookup(actions)
            found[f"{name}_id"] = tf.where(real, rows, tf.constant(PADDING, tf.int64))
            found[f"{name}_action"] = tf.where(real, actions, tf.constant(PADDING, tf.int64))
            found[f"{name}_timestamp"] = timestamp
        return found

    def candidates(self, raw: Mapping[str, Any], task: str) -> dict[str, Any]:
        """Returns a model's inputs of users, and those of the candidates of one task.

        Args:
            raw: tensors as `candidate_signature` says.
            task: the task.

        Returns:
            `<task>_candidates` int64 [B, N]; `user_<column>` int64 [B, 1] or [B, W], or float32 [B];
            `<task>_<column>` int64 [B, N] or [B, N, W], or float32 [B, N].
        """
        entity = self._schema.groups[self._schema.tasks[task].group].entity
        found = {f"{task}_candidates": self._ids[entity].lookup(raw[f"{task}_candidates"])}
        for prefix, features, _ in _features(self._schema, task):
            for column, feature in features.features.items():
                name = f"{prefix}_{column}"
                rows = self._features[feature.table].lookup(raw[name])
                if feature.max_values > 1:
                    rows = tf.where(raw[name] == "", tf.constant(PADDING, tf.int64), rows)
                    rows = fit_values(rows, feature.max_values)
                elif prefix == "user":
                    rows = rows[:, tf.newaxis]
                found[name] = rows
            found |= {f"{prefix}_{column}": raw[f"{prefix}_{column}"] for column in features.dense}
        return found


def parse_examples(examples: Any, schema: Schema, task: str) -> tuple[dict[str, Any], Any]:
    """Parses `tf.train.Example`s of several users, whose histories and candidates have lengths of their own.

    The features of an Example have the names of the raw inputs, each the list of its values: int64 for int64 ids and
    timestamps, float for numbers, bytes else. What is missing is empty: a group without its features is one in which
    the user did nothing. Only `now` must be there. A context column of several values is one flat list, and
    `<task>_<column>_lengths` says how many values each candidate has.

    Args:
        examples: serialized Examples, string [B].
        schema: the model's schema.
        task: the task whose candidates are scored.

    Returns:
        The raw inputs, padded, as `request_signature` says; and how many candidates each user has, int64 [B].
    """
    candidates, context = f"{task}_candidates", schema.tasks[task].context
    spec = {name: _example_feature(name, tensor) for name, tensor in request_signature(schema, task).items()}
    spec["now"] = tf.io.FixedLenFeature([], tf.int64)
    parsed = tf.io.parse_example(examples, spec)
    count = parsed[candidates].row_lengths()
    raw = dict(parsed)
    for group in schema.groups:
        columns = _columns(group)
        with tf.control_dependencies([_same_lengths(columns, [parsed[name].row_lengths() for name in columns])]):
            raw |= {name: _padded(parsed[name]) for name in columns}
    width = tf.shape(_padded(parsed[candidates]))[1]
    # By the schema, not by the names: a group may be named as the task, or begin with its name.
    for name in (candidates, *(f"{task}_{column}" for column in (*context.features, *context.dense))):
        lengths = parsed[name].row_lengths()
        given = tf.where(lengths == 0, count, lengths)  # A column may be missing.
        with tf.control_dependencies([_same_lengths([candidates, name], [count, given])]):
            raw[name] = _widened(_padded(parsed[name]), width)
    raw |= {name: _padded(value) for name, value in raw.items() if isinstance(value, tf.RaggedTensor)}
    return raw, count


def newest_indices(timestamp: Any, most: int) -> Any:
    """Returns the indices of each user's newest `most` behaviors, in time order, int32 [B, min(T, most)].

    Of one moment the later ones are newer.
    """
    width = tf.shape(timestamp)[1]
    _, from_the_end = tf.math.top_k(tf.reverse(timestamp, [1]), tf.minimum(width, most))
    return tf.reverse(width - 1 - from_the_end, [1])


def fit_values(rows: Any, most: int) -> Any:
    """Cuts or pads multi-valued features to the width of training: [..., W] -> [..., most].

    Where there is no value at all, `UNKNOWN` stands first, as prepare writes it.
    """
    width = tf.shape(rows)[-1]
    ends = [[0, 0]] * (rows.shape.rank - 1)
    rows = tf.pad(rows, [*ends, [0, tf.maximum(most - width, 0)]])[..., :most]
    none = tf.logical_not(tf.reduce_any(rows != PADDING, axis=-1, keepdims=True))
    first = tf.one_hot(0, most, on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(none & first, tf.constant(UNKNOWN, tf.int64), rows)


def _columns(group: str) -> list[str]:
    """Names of the inputs of a group's behaviors: of their ids, actions and timestamps."""
    return [f"{group}_{column}" for column in _BEHAVIOR]


def _id_dtype(schema: Schema, group: str) -> Any:
    """The dtype of a group's objects in the logs."""
    return tf.dtypes.as_dtype(schema.entities[schema.groups[group].entity].id.dtype)


def _features(schema: Schema, task: str) -> list[tuple[str, Features, list[None]]]:
    """Prefix, features and shape of a value: of the user, and of a task's candidates."""
    return [("user", schema.user, [None]), (task, schema.tasks[task].context, [None, None])]


def _one_shape(group: str, columns: list[Any]) -> Any:
    first, *others = (tf.shape(column) for column in columns)
    same = tf.reduce_all([tf.reduce_all(first == other) for other in others])
    message = f"Expected {group}_id, {group}_action and {group}_timestamp of one shape. Received shapes:"
    return tf.debugging.Assert(same, [message, first, *others])


def _hash_table(values: np.ndarray) -> Any:
    keys = tf.constant(values, tf.int64 if values.dtype.kind == "i" else tf.string)
    rows = tf.range(FIRST_ROW, FIRST_ROW + len(values), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, rows), UNKNOWN)


def _example_feature(name: str, tensor: Any) -> Any:
    """How an Example holds an input: one value, a list, or a flat list and the lengths of its parts."""
    if tensor.shape.rank == 1:
        return tf.io.FixedLenFeature([], tensor.dtype, _MISSING[tensor.dtype])
    parts = [tf.io.RaggedFeature.RowLengths(f"{name}_lengths")] if tensor.shape.rank == 3 else []
    return tf.io.RaggedFeature(tensor.dtype, name, parts, row_splits_dtype=tf.int64)


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
