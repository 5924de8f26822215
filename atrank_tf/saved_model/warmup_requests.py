"""Warm-up requests of an export, one for each signature, on made-up users."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.saved_model.preprocessor import candidate_signature, history_signature
from atrank_tf.saved_model.signatures import OF_FIRST_TASK
from atrank_tf.schema import Schema
from atrank_tf.schema.inputs import candidates_name, history_name, join_names
from atrank_tf.server.loader import LoadedModel
from atrank_tf.server.warmup import WarmupRequest

_BEHAVIORS, _CANDIDATES, _VALUES = 8, 32, 8
_MEMORY_MAKERS = ("encode_user", "encode_timeline")


def warmup_requests(model: LoadedModel, schema: Schema, tasks: tuple[str, ...]) -> list[WarmupRequest]:
    """Runs every function behind the signatures once, on made-up users and candidates, and returns the requests.

    Args:
        model: the export.
        schema: the model's schema.
        tasks: the model's tasks, the first one first.

    Raises:
        ServingError: a signature does not run.
    """
    requests: dict[str, Mapping[str, Any]] = {}
    known: dict[str, Any] = {}
    names = {join_names(kind, task): task for task in tasks for kind in OF_FIRST_TASK.values()}
    for signature in (*_MEMORY_MAKERS, "append_behaviors", *names):
        if signature not in model.signatures:
            continue
        task = names.get(signature, tasks[0])
        raw = _history(schema, timestamp=2 if signature == "append_behaviors" else 1)
        raw |= _made_up(candidate_signature(schema, task), _CANDIDATES)
        made = {**raw, **known, "now": np.array([3]), "examples": _example(schema, task)}
        made |= {"k": np.array([8]), "exclude": raw[candidates_name(task)][:, :1], "exclude_history": np.array([True])}
        requests[signature] = {name: made[name] for name in model.signatures[signature].inputs}
        found = model.run(signature, requests[signature])
        if signature in _MEMORY_MAKERS:
            known |= found
    for signature, kind in OF_FIRST_TASK.items():  # The same functions under another name.
        if signature in model.signatures:
            requests[signature] = requests[join_names(kind, tasks[0])]
    return [WarmupRequest(inputs, signature) for signature, inputs in requests.items()]


def _history(schema: Schema, timestamp: int = 1) -> dict[str, Any]:
    """Returns one user's behaviors, all at one time and of an action that each group has."""
    made = _made_up(history_signature(schema), _BEHAVIORS)
    for name, group in schema.groups.items():
        made[history_name(name, "timestamp")][:] = timestamp
        made[history_name(name, "action")][:] = group.actions[0]
    return made


def _made_up(signature: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Returns one user's values for the inputs of a signature: empty texts and zeros, `rows` in each list."""
    made = {}
    for name, spec in signature.items():
        shape = [1, rows, _VALUES][: spec.shape.rank]
        dtype = spec.dtype.as_numpy_dtype
        made[name] = np.full(shape, "", object) if spec.dtype == tf.string else np.zeros(shape, dtype)
    return made


def _example(schema: Schema, task: str) -> Any:
    candidates = candidates_name(task)
    # With a history of another length than the candidates: what takes one for the other is found by this request.
    made = {**_history(schema), "now": np.array([3])}
    made[candidates] = _made_up(candidate_signature(schema, task), _CANDIDATES)[candidates]
    features = tf.train.Features(feature={name: _feature(value[0]) for name, value in made.items()})
    return np.array([tf.train.Example(features=features).SerializeToString()], object)


def _feature(values: Any) -> Any:
    if values.dtype == object:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode() for value in values]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=np.atleast_1d(values)))
