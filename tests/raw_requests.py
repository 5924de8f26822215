"""Requests of the records of `conftest.py` in raw ids, and as tf.Examples, with the rows that they stand for."""

from functools import cache
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data import Records, requests
from atrank_tf.data.codes import Codes
from atrank_tf.files import text_array
from atrank_tf.schema import PADDING

VALUES = ["mail", "app", "young", "old"]
"""All values of features of the user and the context: of a table with `hash` they cannot be read from records."""


@cache
def rows_of_request(records: Records, task: str) -> dict[str, np.ndarray]:
    """The first test requests of a task in rows: a model's inputs. Not to be changed."""
    batches = (inputs for inputs, *_ in requests(records, "test").as_numpy_iterator())
    return next(inputs for inputs in batches if inputs[f"{task}__candidates"].shape[1])


def raw_request(records: Records, task: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same requests as a log holds them, with whole histories; and which candidates are real.

    Padding is garbage ids at timestamp 0, and candidates "" or -1.
    """
    return dict(_raw_request(records, task)), rows_of_request(records, task)[f"{task}__candidates"] > 0


@cache
def _raw_request(records: Records, task: str) -> dict[str, np.ndarray]:
    schema, inputs = records.schema, rows_of_request(records, task)
    inputs = inputs | _whole_histories(records, task, inputs)

    def names(rows: np.ndarray, values: np.ndarray, dtype: Any, unknown: str = "never seen") -> np.ndarray:
        missing = values.dtype.type(-7 if values.dtype.kind == "i" else unknown)
        table = np.concatenate([[missing, missing], values])
        return table[rows].astype(dtype)

    raw = {"now": inputs["now"]}
    for name, group in schema.groups.items():
        ids = records.catalogs[group.entity].ids
        raw[f"{name}__id"] = names(inputs[f"{name}__id"], ids, np.int64 if ids.dtype.kind == "i" else object)
        raw[f"{name}__action"] = names(inputs[f"{name}__action"], np.array(group.actions), object)
        raw[f"{name}__timestamp"] = inputs[f"{name}__timestamp"]
    ids = records.catalogs[schema.entity_of(task)].ids
    dtype = np.int64 if ids.dtype.kind == "i" else object
    shown = inputs[f"{task}__candidates"]
    blank = -1 if ids.dtype.kind == "i" else ""
    raw[f"{task}__candidates"] = np.where(shown == PADDING, blank, names(shown, ids, dtype)).astype(dtype)
    for prefix, features in (("user", schema.user), (task, schema.tasks[task].context)):
        for column, feature in features.features.items():
            rows, values = inputs[f"{prefix}__{column}"], records.vocabularies[feature.table]
            if schema.tables[feature.table].hash:
                codes, values = Codes(0).lookup(pl.Series(VALUES)), text_array(VALUES)
                rows = np.where(rows > 1, 2 + np.argmax(rows[..., np.newaxis] == codes, axis=-1), rows)
            # Nothing is unknown to a hash but what is missing.
            found = names(rows, values, object, "" if schema.tables[feature.table].hash else "never seen")
            raw[f"{prefix}__{column}"] = found[:, 0] if prefix == "user" and feature.max_values == 1 else found
        for column in features.dense:
            raw[f"{prefix}__{column}"] = inputs[f"{prefix}__{column}"]
    return raw


def _whole_histories(records: Records, task: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The histories of a batch of test requests, not cut to `max_length`: a log holds all of them."""
    for whole, *_ in requests(records, "test", tasks=[task], whole_history=True).as_numpy_iterator():
        if np.array_equal(whole["now"], inputs["now"]):
            return {name: whole[name] for name in whole if name.split("__")[0] in records.schema.groups}
    raise ValueError("Expected a batch of test requests.")


def examples(raw: dict[str, np.ndarray], real: np.ndarray, task: str) -> np.ndarray:
    """The same requests without their padding, as serialized Examples."""
    found = []
    for row in range(len(raw["now"])):
        features: dict[str, Any] = {}
        for name, value in raw.items():
            each = value[row]
            owner = name.split("__")[0]
            if f"{owner}__timestamp" in raw:
                each = each[raw[f"{owner}__timestamp"][row] > 0]
            elif owner == task and np.ndim(each):
                each = each[real[row]]
            features[name] = np.atleast_1d(each).tolist()
        found.append(example({name: values for name, values in features.items() if values}))
    return np.array(found, object)


def example(features: dict[str, list[Any]]) -> bytes:
    """A serialized Example."""

    def feature(values: list[Any]) -> tf.train.Feature:
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        if isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        texts = [value.encode() for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))

    found = {name: feature(values) for name, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString()


def text(value: Any) -> str:
    """An id as a string, whether it came as bytes, as a string or as a number."""
    return value.decode() if isinstance(value, bytes) else str(value)
