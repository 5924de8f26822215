"""Raw ids and values, as a log holds them -> the rows that a model takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.data import IdMaps
from atrank_tf.schema import FIRST_ROW, PADDING, UNKNOWN, Features, Schema


def history_signature(schema: Schema) -> dict[str, Any]:
    """Returns the raw inputs that say what a user did, as `tf.TensorSpec`s by name."""
    signature = {"now": tf.TensorSpec([None], tf.int64, "now")}
    for name, group in schema.groups.items():
        id_type = tf.dtypes.as_dtype(schema.entities[group.entity].id.dtype)
        for column, dtype in (("id", id_type), ("action", tf.string), ("timestamp", tf.int64)):
            signature[f"{name}_{column}"] = tf.TensorSpec([None, None], dtype, f"{name}_{column}")
    return signature


def candidate_signature(schema: Schema, task: str) -> dict[str, Any]:
    """Returns the raw inputs that say who the user is and what is to be scored, as `tf.TensorSpec`s by name."""
    name = f"{task}_candidates"
    signature = {name: tf.TensorSpec([None, None], id_type(schema, task), name)}
    for prefix, features, shape in sides(schema, task):
        for column, feature in features.features.items():
            wide = [*shape, None] if feature.max_values > 1 else shape
            signature[f"{prefix}_{column}"] = tf.TensorSpec(wide, tf.string, f"{prefix}_{column}")
        for column in features.dense:
            signature[f"{prefix}_{column}"] = tf.TensorSpec(shape, tf.float32, f"{prefix}_{column}")
    return signature


def request_signature(schema: Schema, task: str) -> dict[str, Any]:
    """Returns the raw inputs of a task's signature, as `tf.TensorSpec`s by name."""
    return history_signature(schema) | candidate_signature(schema, task)


def id_type(schema: Schema, task: str) -> Any:
    """Returns the dtype of a task's candidates in the logs."""
    return tf.dtypes.as_dtype(schema.entities[schema.groups[schema.tasks[task].group].entity].id.dtype)


def sides(schema: Schema, task: str) -> list[tuple[str, Features, list[None]]]:
    """Returns prefix, features and shape of what stands beside history and candidates: of the user, of the task."""
    return [("user", schema.user, [None]), (task, schema.tasks[task].context, [None, None])]


def of_same_users(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Returns raw inputs as they are, if all of them are of as many users: one user's would be broadcast to all others.

    Whatever is computed of what comes back waits for the check, which fails where an input is of fewer and names it.
    """
    users = tf.stack([tf.shape(value)[0] for value in raw.values()])
    most = tf.reduce_max(users)
    fewer = tf.where(users != most)[:, 0]
    message = ["Expected every input to be of as many users as the longest,", most]
    message += ["Received:", tf.gather(users, fewer), "in", tf.gather(tf.constant(list(raw)), fewer)]
    check = tf.debugging.Assert(tf.reduce_all(users == most), message, summarize=len(raw))
    with tf.control_dependencies([check]):
        return {name: tf.identity(value) for name, value in raw.items()}


class RawInputs:
    """Hash tables from raw values to rows, and what is done with them; what they do not hold is `UNKNOWN`.

    Args:
        schema: the model's schema.
        values: the raw values behind its rows.
    """

    def __init__(self, schema: Schema, values: IdMaps) -> None:
        self._schema = schema
        self._ids = {name: _hash_table(ids) for name, ids in values.ids.items()}
        self._features = {name: _hash_table(known) for name, known in values.asked(schema).items()}
        self._actions = {name: _hash_table(np.array(group.actions)) for name, group in schema.groups.items()}
        self.tables = [*self._ids.values(), *self._features.values(), *self._actions.values()]

    def history(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a model's history inputs; of a group's behaviors the newest `max_length`."""
        found: dict[str, Any] = {"now": raw["now"]}
        for name, group in self._schema.groups.items():
            columns = [raw[f"{name}_{column}"] for column in ("id", "action", "timestamp")]
            with tf.control_dependencies([_one_shape(name, columns)]):
                newest = newest_places(columns[2], group.max_length)
            ids, actions, timestamp = (tf.gather(column, newest, batch_dims=1) for column in columns)
            # Any id may be real, 0 too; no behavior is of 1970-01-01 00:00:00.
            real = timestamp > 0
            rows, actions = self._ids[group.entity].lookup(ids), self._actions[name].lookup(actions)
            found[f"{name}_id"] = tf.where(real, rows, tf.constant(PADDING, tf.int64))
            found[f"{name}_action"] = tf.where(real, actions, tf.constant(PADDING, tf.int64))
            found[f"{name}_timestamp"] = timestamp
        return found

    def candidates(self, raw: Mapping[str, Any], task: str) -> dict[str, Any]:
        """Returns a model's profile inputs, and its inputs of one task."""
        entity = self._schema.groups[self._schema.tasks[task].group].entity
        found = {f"{task}_candidates": self._ids[entity].lookup(raw[f"{task}_candidates"])}
        for prefix, features, _ in sides(self._schema, task):
            for column, feature in features.features.items():
                name = f"{prefix}_{column}"
                rows = self._features[feature.table].lookup(raw[name])
                if feature.max_values > 1:
                    rows = tf.where(raw[name] == "", tf.constant(PADDING, tf.int64), rows)
                    rows = value_rows(rows, feature.max_values)
                elif prefix == "user":
                    rows = rows[:, tf.newaxis]
                found[name] = rows
            found |= {f"{prefix}_{column}": raw[f"{prefix}_{column}"] for column in features.dense}
        return found


def newest_places(timestamp: Any, most: int) -> Any:
    """Returns where the newest `most` behaviors of each user stand, in time order, int32 [B, min(T, most)].

    Of one moment the later ones are newer.
    """
    width = tf.shape(timestamp)[1]
    _, from_the_end = tf.math.top_k(tf.reverse(timestamp, [1]), tf.minimum(width, most))
    return tf.reverse(width - 1 - from_the_end, [1])


def value_rows(rows: Any, most: int) -> Any:
    """Brings multi-valued features to the width of training: [..., W] -> [..., most].

    Where there is no value at all, `UNKNOWN` stands first, as prepare writes it.
    """
    width = tf.shape(rows)[-1]
    ends = [[0, 0]] * (rows.shape.rank - 1)
    rows = tf.pad(rows, [*ends, [0, tf.maximum(most - width, 0)]])[..., :most]
    none = tf.logical_not(tf.reduce_any(rows != PADDING, axis=-1, keepdims=True))
    first = tf.one_hot(0, most, on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(none & first, tf.constant(UNKNOWN, tf.int64), rows)


def _one_shape(group: str, columns: list[Any]) -> Any:
    first, *others = (tf.shape(column) for column in columns)
    same = tf.reduce_all([tf.reduce_all(first == other) for other in others])
    message = f"Expected {group}_id, {group}_action and {group}_timestamp of one shape. Received shapes:"
    return tf.debugging.Assert(same, [message, first, *others])


def _hash_table(values: np.ndarray) -> Any:
    keys = tf.constant(values, tf.int64 if values.dtype.kind == "i" else tf.string)
    rows = tf.range(FIRST_ROW, FIRST_ROW + len(values), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, rows), UNKNOWN)
