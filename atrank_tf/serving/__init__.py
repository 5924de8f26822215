"""Serving a SavedModel under the REST contract of TensorFlow Serving, and checking one before it goes there.

The HTTP server needs aiohttp (`pip install 'atrank-tf[serving]'`); everything else here does without.
"""

from typing import TYPE_CHECKING, Any

from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.export.export import export_savedmodel
from atrank_tf.serving.export.lint import lint
from atrank_tf.serving.export.raw_inputs import request_signature
from atrank_tf.serving.http.client import Client, ClientError
from atrank_tf.serving.http.server_settings import ServerSettings
from atrank_tf.serving.http.warm_loader import load_warm
from atrank_tf.serving.loading.config_files import ModelConfig, read_metrics_path, read_model_config
from atrank_tf.serving.loading.loader import LoadedModel, Signature, TensorInfo, load
from atrank_tf.serving.loading.served_model import ServedModel
from atrank_tf.serving.loading.served_models import ServedModels
from atrank_tf.serving.loading.version_policy import All, Latest, Specific
from atrank_tf.serving.loading.version_status import VersionStatus
from atrank_tf.serving.loading.versions import Version, latest_version, publish, versions
from atrank_tf.serving.loading.warmup import WarmupRequest, read_warmup, write_warmup
from atrank_tf.serving.metrics import Metrics
from atrank_tf.serving.rest.rest_api import RestApi, RestResponse

if TYPE_CHECKING:
    from atrank_tf.serving.http.server import make_app, serve

_NEED_AIOHTTP = ("make_app", "serve")

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
    "export_savedmodel",
    "latest_version",
    "lint",
    "load",
    "load_warm",
    "make_app",
    "publish",
    "read_metrics_path",
    "read_model_config",
    "read_warmup",
    "request_signature",
    "serve",
    "versions",
    "write_warmup",
]


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that the package can be imported without the extra.
    if name in _NEED_AIOHTTP:
        from atrank_tf.serving.http import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
