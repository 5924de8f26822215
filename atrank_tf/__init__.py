"""ATRank for TensorFlow and Keras: rank anything from logs of mixed user behavior."""

import importlib
import os
from typing import Any

from atrank_tf.quiet import quiet_start

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Somebody's own setting wins.
with quiet_start():
    import tensorflow as _  # noqa: F401

from atrank_tf import (
    data,
    evaluation,
    explanation,
    layers,
    models,
    preparation,
    report,
    saved_model,
    schema,
    server,
    training,
)
from atrank_tf.data import Batching, Records, evaluation_batches, training_batches
from atrank_tf.models import ATRank, ATRankConfig
from atrank_tf.schema import Schema, load_schema
from atrank_tf.training import PointwiseCrossentropy, RequestAUC, request_auc_by_task
from atrank_tf.version import __version__

__all__ = [
    "ATRank",
    "ATRankConfig",
    "Batching",
    "PointwiseCrossentropy",
    "Records",
    "RequestAUC",
    "Schema",
    "__version__",
    "data",
    "datasets",
    "evaluation",
    "evaluation_batches",
    "explanation",
    "layers",
    "load_schema",
    "models",
    "preparation",
    "report",
    "request_auc_by_task",
    "saved_model",
    "schema",
    "server",
    "training",
    "training_batches",
]


def __getattr__(name: str) -> Any:
    if name == "datasets":  # Only when asked for: it brings TensorFlow Datasets along.
        return importlib.import_module("atrank_tf.datasets")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
