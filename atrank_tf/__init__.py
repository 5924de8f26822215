"""ATRank for TensorFlow and Keras: rank anything from logs of mixed user behavior."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrank_tf import data, datasets, evaluation, layers, models, schema, serving, training
    from atrank_tf.data import Batching, Records, evaluation_batches, training_batches
    from atrank_tf.models import ATRank, ATRankConfig
    from atrank_tf.schema import Schema, load_schema
    from atrank_tf.training import PointwiseCrossentropy, RequestAUC, request_auc_by_task

__version__ = "0.1.0"

_ROOMS = ("data", "datasets", "evaluation", "layers", "models", "schema", "serving", "training")
_HOMES = {
    "ATRank": "models",
    "ATRankConfig": "models",
    "Batching": "data",
    "PointwiseCrossentropy": "training",
    "Records": "data",
    "RequestAUC": "training",
    "Schema": "schema",
    "evaluation_batches": "data",
    "load_schema": "schema",
    "request_auc_by_task": "training",
    "training_batches": "data",
}

__all__ = [
    "ATRank",
    "ATRankConfig",
    "Batching",
    "PointwiseCrossentropy",
    "Records",
    "RequestAUC",
    "Schema",
    "data",
    "datasets",
    "evaluation",
    "evaluation_batches",
    "layers",
    "load_schema",
    "models",
    "request_auc_by_task",
    "schema",
    "serving",
    "training",
    "training_batches",
]


def __getattr__(name: str) -> Any:
    # On first use, so that a command can say what is wrong with its flags before TensorFlow takes its seconds to start.
    if name in _ROOMS:
        return importlib.import_module(f"atrank_tf.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"atrank_tf.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'atrank_tf' has no attribute {name!r}")
