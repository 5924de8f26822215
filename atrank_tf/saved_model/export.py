"""Export of a trained model as a SavedModel that takes raw ids."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from atrank_tf.data import IdMaps
from atrank_tf.models import Ranker
from atrank_tf.paths import check_scheme
from atrank_tf.saved_model.lint import lint
from atrank_tf.saved_model.publish import publish
from atrank_tf.saved_model.signatures import Signatures
from atrank_tf.saved_model.warmup_requests import warmup_requests
from atrank_tf.server.limits import write_limited_inputs
from atrank_tf.server.loader import load
from atrank_tf.server.version_checksums import write_checksums
from atrank_tf.server.warmup import write_warmup


def export_model(model: Ranker, values: IdMaps, export_dir: str, *, explain: bool = False) -> str:
    """Writes the next version of a model for TensorFlow Serving.

    | signature | takes | gives |
    |---|---|---|
    | `score__<task>`; `serving_default` | histories, users, candidates | `scores` float32 [B, N] |
    | `rank__<task>`; `rank` | the same as `tf.train.Example`s | `ids`, `scores` [B, N], best first; `count` int64 [B] |
    | `top__<task>`; `top`, where negatives are sampled | histories, users, `k` | as `rank`, of the whole catalog |
    | `encode_user` | histories | `memory` float32 [B, T, D], `mask` bool [B, T] and moments |
    | `score_candidates__<task>`; `score_candidates` | that, users, candidates | `scores` float32 [B, N] |
    | `explain__<task>`; `explain`, if asked for | as `score__<task>` | `scores` and what they came from |

    Those without a task's name are of the first task. In `assets.extra` stand one made-up request for each, which
    servers run before they answer anybody (a signature that does not run is found here); and for the embedded server
    what the inputs hold and cost, and the checksums of all files.

    A request that would take more memory than `ServerSettings.max_work_bytes` is refused by the graph, in any server.

    Inputs are what a log holds: `<group>__id` string or int64 [B, T_g], `<group>__action` string [B, T_g],
    `<group>__timestamp` int64 [B, T_g] (0 = padding; of more than `max_length` the newest count), `now` int64 [B],
    `<task>__candidates` string or int64 [B, N], and user and context features as strings or floats. Scores are logits;
    sigmoid gives the probability of a positive among the candidates that the training showed.

    Args:
        model: a trained model.
        values: the raw values behind its rows.
        export_dir: the folder of all versions; the new one is 1 above the newest.
        explain: whether the export can say what its scores came from.

    Returns:
        The version's folder.

    Raises:
        ValueError: `export_dir` is in an object store, the model does not compute in float32, the values are not of
            this model, or TensorFlow Serving could not run the result; nothing is published.
        ServingError: a signature fails; nothing is published.
        OSError: the disk is full, or the folder is read-only; nothing is published.
    """
    check_scheme(export_dir)
    if model.compute_dtype != "float32":
        raise ValueError(
            f"Expected a model that computes in float32, as exports do. Received: {model.compute_dtype}. Load it in a "
            "process that has not called keras.config.set_dtype_policy: its weights are float32."
        )
    values.check_schema(model.schema)

    def write(path: str) -> None:
        signatures = Signatures(model, values, explain=explain)
        # Not `keras.export.ExportArchive`: it traces each function twice, and stores it twice.
        served = tf.Module()
        read = {id(variable): variable for function in signatures.functions.values() for variable in function.variables}
        served.variables_read = list(read.values())
        served.tables_read = signatures.resources
        try:
            # Nobody differentiates an export; gradients would be a part of its graph.
            without_gradients = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(served, path, signatures.functions, without_gradients)
        except tf.errors.OpError as error:  # Nothing is run here: it is the disk that failed.
            raise OSError(f"The SavedModel cannot be written: {error.message}") from error
        _share_tensors(path, signatures.functions)
        problems = lint(path)
        if problems:
            raise ValueError(f"Expected a SavedModel that TensorFlow Serving can run. Found: {'; '.join(problems)}.")
        with contextlib.closing(load(path)) as loaded:
            write_warmup(path, warmup_requests(loaded, model.schema, model.tasks))
        write_limited_inputs(path, signatures.limited)
        write_checksums(path)

    return publish(write, export_dir)


def _share_tensors(path: str, functions: Mapping[str, Any]) -> None:
    """Has signatures of the same function name the same tensors, so that a server prepares its graph once."""
    file, saved = Path(path) / "saved_model.pb", saved_model_pb2.SavedModel()
    saved.ParseFromString(file.read_bytes())
    signature_defs = saved.meta_graphs[0].signature_def
    names: dict[int, str] = {}
    for name, function in functions.items():
        same = names.setdefault(id(function), name)
        if same != name:
            signature_defs[name].CopyFrom(signature_defs[same])
    file.write_bytes(saved.SerializeToString(deterministic=True))
