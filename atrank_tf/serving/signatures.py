"""A trained model -> a SavedModel that takes raw ids."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.data import RawValues
from atrank_tf.models import Ranker
from atrank_tf.schema import FIRST_ROW, PADDING, UNKNOWN, Features, Schema
from atrank_tf.serving.lint import lint
from atrank_tf.serving.versions import publish

DEFAULT = "serving_default"
"""Name of the signature that TensorFlow Serving uses where a request names none; scores the first task."""


def export_savedmodel(model: Ranker, values: RawValues, export_dir: str) -> str:
    """Writes the next version of a model for TensorFlow Serving.

    Signatures: one for each task, named after it, and `serving_default`, the first task's. Inputs are what a log
    holds: `<group>_id` string or int64 [B, T_g], `<group>_action` string [B, T_g], `<group>_timestamp` int64 [B, T_g]
    (0 = padding; of more than `max_length` the newest count), `now` int64 [B], `<task>_candidates` string or int64
    [B, N], and user and context features as strings or floats. Output: `scores` float32 [B, N], the logits; sigmoid
    gives the probability of a positive among the candidates that the training showed.

    Args:
        model: a trained model.
        values: the raw values behind its rows.
        export_dir: the folder of all versions; the new one is 1 above the newest.

    Returns:
        The version's folder.

    Raises:
        ValueError: TensorFlow Serving could not run the result; nothing is published.
    """

    def write(path: str) -> None:
        archive = keras.export.ExportArchive()
        lookups = _Lookups(model.schema, values)
        archive.track(model)
        for table in lookups.tables:
            archive.track(table)
        for task in model.tasks:
            function, signature = _task_function(model, lookups, task)
            archive.add_endpoint(task, function, input_signature=[signature])
        function, signature = _task_function(model, lookups, model.tasks[0])
        archive.add_endpoint(DEFAULT, function, input_signature=[signature])
        archive.write_out(path, verbose=False)
        problems = lint(path)
        if problems:
            raise ValueError(f"Expected a SavedModel that TensorFlow Serving can run. Found: {'; '.join(problems)}.")

    return publish(write, export_dir)


def request_signature(schema: Schema, task: str) -> dict[str, Any]:
    """Returns the raw inputs of a task's signature as `tf.TensorSpec`s, by name."""
    signature = {"now": tf.TensorSpec([None], tf.int64, "now")}
    for name, group in schema.groups.items():
        id_type = tf.dtypes.as_dtype(schema.entities[group.entity].id.dtype)
        for column, dtype in (("id", id_type), ("action", tf.string), ("timestamp", tf.int64)):
            signature[f"{name}_{column}"] = tf.TensorSpec([None, None], dtype, f"{name}_{column}")
    entity = schema.entities[schema.groups[schema.tasks[task].group].entity]
    candidates = f"{task}_candidates"
    signature[candidates] = tf.TensorSpec([None, None], tf.dtypes.as_dtype(entity.id.dtype), candidates)
    for prefix, features, shape in _sides(schema, task):
        for column, feature in features.features.items():
            wide = [*shape, None] if feature.max_values > 1 else shape
            signature[f"{prefix}_{column}"] = tf.TensorSpec(wide, tf.string, f"{prefix}_{column}")
        for column in features.dense:
            signature[f"{prefix}_{column}"] = tf.TensorSpec(shape, tf.float32, f"{prefix}_{column}")
    return signature


class _Lookups:
    """Hash tables from raw values to rows; what they do not hold is `UNKNOWN`."""

    def __init__(self, schema: Schema, values: RawValues) -> None:
        self.ids = {name: _hash_table(ids) for name, ids in values.ids.items()}
        self.features = {name: _hash_table(known) for name, known in values.tables.items()}
        self.actions = {name: _hash_table(np.array(group.actions)) for name, group in schema.groups.items()}
        self.tables = [*self.ids.values(), *self.features.values(), *self.actions.values()]


def _task_function(
    model: Ranker, lookups: _Lookups, task: str
) -> tuple[Callable[[Mapping[str, Any]], dict[str, Any]], dict[str, Any]]:
    schema = model.schema
    encoder, scorer = model.encoder(), model.scorer(task)

    def scores(raw: Mapping[str, Any]) -> dict[str, Any]:
        history: dict[str, Any] = {"now": raw["now"]}
        for name, group in schema.groups.items():
            newest = _newest(raw[f"{name}_timestamp"], group.max_length)
            ids, actions, timestamp = (
                tf.gather(raw[f"{name}_{column}"], newest, batch_dims=1) for column in ("id", "action", "timestamp")
            )
            # Any id may be real, 0 too; no behavior is of 1970-01-01 00:00:00.
            real = timestamp > 0
            rows = lookups.ids[group.entity].lookup(ids)
            actions = lookups.actions[name].lookup(actions)
            history[f"{name}_id"] = tf.where(real, rows, tf.constant(PADDING, tf.int64))
            history[f"{name}_action"] = tf.where(real, actions, tf.constant(PADDING, tf.int64))
            history[f"{name}_timestamp"] = timestamp
        entity = schema.groups[schema.tasks[task].group].entity
        wanted = {f"{task}_candidates": lookups.ids[entity].lookup(raw[f"{task}_candidates"])}
        for prefix, features, _ in _sides(schema, task):
            wanted |= _feature_rows(raw, prefix, features, lookups)
        known = {**history, **wanted, **encoder(history, training=False)}
        logits = scorer({tensor.name: known[tensor.name] for tensor in scorer.inputs}, training=False)[task]
        return {"scores": tf.cast(logits, tf.float32)}

    return scores, request_signature(schema, task)


def _feature_rows(raw: Mapping[str, Any], prefix: str, features: Features, lookups: _Lookups) -> dict[str, Any]:
    found = {}
    for column, feature in features.features.items():
        name = f"{prefix}_{column}"
        rows = lookups.features[feature.table].lookup(raw[name])
        if feature.max_values > 1:
            rows = tf.where(raw[name] == "", tf.constant(PADDING, tf.int64), rows)
            rows = _value_rows(rows, feature.max_values)
        elif prefix == "user":
            rows = rows[:, tf.newaxis]
        found[name] = rows
    return found | {f"{prefix}_{column}": raw[f"{prefix}_{column}"] for column in features.dense}


def _newest(timestamp: Any, most: int) -> Any:
    """Returns where the newest `most` behaviors of each user stand, in time order, int32 [B, min(T, most)].

    Of one moment the later ones are newer.
    """
    width = tf.shape(timestamp)[1]
    _, from_the_end = tf.math.top_k(tf.reverse(timestamp, [1]), tf.minimum(width, most))
    return tf.reverse(width - 1 - from_the_end, [1])


def _value_rows(rows: Any, most: int) -> Any:
    """Brings multi-valued features to the width of training: [..., W] -> [..., most].

    Where there is no value at all, `UNKNOWN` stands first, as prepare writes it.
    """
    width = tf.shape(rows)[-1]
    ends = [[0, 0]] * (rows.shape.rank - 1)
    rows = tf.pad(rows, [*ends, [0, tf.maximum(most - width, 0)]])[..., :most]
    none = tf.logical_not(tf.reduce_any(rows != PADDING, axis=-1, keepdims=True))
    first = tf.one_hot(0, most, on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(none & first, tf.constant(UNKNOWN, tf.int64), rows)


def _sides(schema: Schema, task: str) -> list[tuple[str, Features, list[None]]]:
    return [("user", schema.user, [None]), (task, schema.tasks[task].context, [None, None])]


def _hash_table(values: np.ndarray) -> Any:
    keys = tf.constant(values, tf.int64 if values.dtype.kind == "i" else tf.string)
    rows = tf.range(FIRST_ROW, FIRST_ROW + len(values), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, rows), UNKNOWN)
