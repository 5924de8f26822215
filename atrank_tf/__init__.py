"""ATRank for TensorFlow and Keras: rank anything from logs of mixed user behavior.

Importing this package imports nothing else, and sets nothing: what is asked for comes with its room.
"""

import importlib
from typing import TYPE_CHECKING, Any

from atrank_tf.version import __version__

if TYPE_CHECKING:
    from atrank_tf.data import Records, evaluation_batches, timeline_batches, training_batches
    from atrank_tf.experiment import Batching
    from atrank_tf.losses import PointwiseCrossentropy
    from atrank_tf.metrics import RequestAUC, request_auc_by_task
    from atrank_tf.models import ATRank, TimelineATRank
    from atrank_tf.optimizers import SparseAdam
    from atrank_tf.saved_model import Preprocessor, export_model
    from atrank_tf.schema import Schema, load_schema
    from atrank_tf.training import load

_ROOM_OF = {
    "ATRank": "models",
    "Batching": "experiment",
    "PointwiseCrossentropy": "losses",
    "Preprocessor": "saved_model",
    "Records": "data",
    "RequestAUC": "metrics",
    "Schema": "schema",
    "SparseAdam": "optimizers",
    "TimelineATRank": "models",
    "evaluation_batches": "data",
    "export_model": "saved_model",
    "load": "training",
    "load_schema": "schema",
    "request_auc_by_task": "metrics",
    "timeline_batches": "data",
    "training_batches": "data",
}
"""Public name -> the room that it is imported from when it is asked for."""
_ROOMS = (
    "data",
    "datasets",
    "description",
    "evaluation",
    "experiment",
    "explanation",
    "files",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "preparation",
    "report",
    "saved_model",
    "schema",
    "server",
    "training",
)

__all__ = [  # noqa: F822, RUF100
    "ATRank",
    "Batching",
    "PointwiseCrossentropy",
    "Preprocessor",
    "Records",
    "RequestAUC",
    "Schema",
    "SparseAdam",
    "TimelineATRank",
    "__version__",
    "evaluation_batches",
    "export_model",
    "load",
    "load_schema",
    "request_auc_by_task",
    "timeline_batches",
    "training_batches",
]


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        return getattr(importlib.import_module(f"atrank_tf.{_ROOM_OF[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"atrank_tf.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
