"""One request for each signature of an export, for servers to run before they answer anybody."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.schema import Schema
from atrank_tf.serving.export.raw_inputs import candidate_signature, history_signature, id_type
from atrank_tf.serving.export.signatures import OF_FIRST_TASK
from atrank_tf.serving.loading.loader import LoadedModel
from atrank_tf.serving.loading.warmup import WarmupRequest

_BEHAVIORS, _CANDIDATES = 8, 32
_MEMORY_MAKERS = ("encode_user", "encode_timeline")


def warmup_requests(model: LoadedModel, schema: Schema, tasks: tuple[str, ...]) -> list[WarmupRequest]:
    """Runs every function behind the signatures once, on made-up users and candidates, and returns what it was asked.

    Args:
        model: the export.
        schema: the model's schema.
        tasks: the model's tasks, the first one first.

    Raises:
        ServingError: a signature does not run.
    """
    asked: dict[str, Mapping[str, Any]] = {}
    known: dict[str, Any] = {}
    names = {f"{kind}{task}": task for task in tasks for kind in OF_FIRST_TASK.values()}
    for signature in (*_MEMORY_MAKERS, "append_behaviors", *names):
        if signature not in model.signatures:
            continue
        task = names.get(signature, tasks[0])
        raw = _made_up(history_signature(schema), 2 if signature == "append_behaviors" else 1)
        raw |= _made_up(candidate_signature(schema, task), 1)
        made = {**raw, **known, "now": np.array([3]), "examples": _example(schema, task)}
        asked[signature] = {name: made[name] for name in model.signatures[signature].inputs}
        found = model.run(signature, asked[signature])
        if signature in _MEMORY_MAKERS:
            known |= found
    for signature, kind in OF_FIRST_TASK.items():  # The same functions under another name.
        if signature in model.signatures:
            asked[signature] = asked[f"{kind}{tasks[0]}"]
    return [WarmupRequest(inputs, signature) for signature, inputs in asked.items()]


def _made_up(signature: Mapping[str, Any], moment: int) -> dict[str, Any]:
    """Returns one user's values for the inputs of a signature, all behaviors at one moment."""
    made = {}
    for name, spec in signature.items():
        shape = [1, *[_CANDIDATES if name.endswith("_candidates") else _BEHAVIORS] * (spec.shape.rank - 1)]
        value = "" if spec.dtype == tf.string else moment if name.endswith("_timestamp") else 0
        made[name] = np.full(shape, value, object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype)
    candidates = next((name for name in made if name.endswith("_candidates")), None)
    if candidates:  # A context value for each candidate.
        prefix = candidates.removesuffix("candidates")
        for name in made:
            if name.startswith(prefix) and name != candidates:
                made[name] = np.repeat(made[name][:, :1], _CANDIDATES, axis=1)
    return made


def _example(schema: Schema, task: str) -> Any:
    if id_type(schema, task) == tf.string:
        candidates = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b""] * _CANDIDATES))
    else:
        candidates = tf.train.Feature(int64_list=tf.train.Int64List(value=[0] * _CANDIDATES))
    now = tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))
    features = tf.train.Features(feature={"now": now, f"{task}_candidates": candidates})
    return np.array([tf.train.Example(features=features).SerializeToString()], object)
