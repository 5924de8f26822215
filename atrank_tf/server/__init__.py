"""A server of SavedModels under TensorFlow Serving's REST contract, and a client of either server.

The HTTP server needs aiohttp (`pip install 'atrank-tf[serving]'`); everything else here does without.
"""

from typing import TYPE_CHECKING, Any

from atrank_tf.server.client import Client, ClientError
from atrank_tf.server.config_files import ModelConfig, read_metrics_path, read_model_config
from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.loader import LoadedModel, Signature, TensorInfo, load
from atrank_tf.server.metrics import Metrics
from atrank_tf.server.rest_api import RestApi, RestResponse
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.served_models import ServedModels
from atrank_tf.server.settings import ServerSettings
from atrank_tf.server.versions import All, Latest, Specific, Version, VersionStatus, latest_version, versions
from atrank_tf.server.warmup import WarmupRequest, load_warm, read_warmup, write_warmup

if TYPE_CHECKING:
    from atrank_tf.server.connections import Runner
    from atrank_tf.server.http_server import make_app, serve

_NEED_AIOHTTP = ("Runner", "make_app", "serve")

__all__ = [
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
    "versions",
    "write_warmup",
]


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that the package can be imported without the extra.
    if name in _NEED_AIOHTTP:
        from atrank_tf.server import http_server

        return getattr(http_server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
