"""A server of SavedModels under TensorFlow Serving's REST contract, and a client of either server.

The HTTP server needs aiohttp (`pip install 'atrank-tf[serving]'`); everything else here does without. A name is
imported when it is asked for: the settings are there without TensorFlow, and the client without a server.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrank_tf.server.client import Client, ClientError
    from atrank_tf.server.config_files import ModelConfig, read_metrics_path, read_model_config
    from atrank_tf.server.connections import Runner
    from atrank_tf.server.errors import Code, ServingError
    from atrank_tf.server.http_server import make_app, serve
    from atrank_tf.server.loader import LoadedModel, Signature, TensorInfo, load
    from atrank_tf.server.metrics import Metrics
    from atrank_tf.server.rest_api import RestApi, RestResponse
    from atrank_tf.server.served_model import ServedModel
    from atrank_tf.server.served_models import ServedModels
    from atrank_tf.server.settings import ServerSettings
    from atrank_tf.server.versions import All, Latest, Specific, Version, VersionStatus, latest_version
    from atrank_tf.server.warmup import WarmupRequest, load_warm, read_warmup, write_warmup

_NAMES_OF = {
    "client": ("Client", "ClientError"),
    "config_files": ("ModelConfig", "read_metrics_path", "read_model_config"),
    "connections": ("Runner",),
    "errors": ("Code", "ServingError"),
    "http_server": ("make_app", "serve"),
    "loader": ("LoadedModel", "Signature", "TensorInfo", "load"),
    "metrics": ("Metrics",),
    "rest_api": ("RestApi", "RestResponse"),
    "served_model": ("ServedModel",),
    "served_models": ("ServedModels",),
    "settings": ("ServerSettings",),
    "versions": ("All", "Latest", "Specific", "Version", "VersionStatus", "latest_version"),
    "warmup": ("WarmupRequest", "load_warm", "read_warmup", "write_warmup"),
}
"""Module -> its public names."""
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}

__all__ = [  # noqa: F822, RUF100
    "All",
    "Client",
    "ClientError",
    "Code",
    "Latest",
    "LoadedModel",
    "Metrics",
    "ModelConfig",
    "RestApi",
    "RestResponse",
    "Runner",
    "ServedModel",
    "ServedModels",
    "ServerSettings",
    "ServingError",
    "Signature",
    "Specific",
    "TensorInfo",
    "Version",
    "VersionStatus",
    "WarmupRequest",
    "latest_version",
    "load",
    "load_warm",
    "make_app",
    "read_metrics_path",
    "read_model_config",
    "read_warmup",
    "serve",
    "write_warmup",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"atrank_tf.server.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
