"""Serving a SavedModel under the REST contract of TensorFlow Serving, and checking one before it goes there.

The HTTP server needs aiohttp (`pip install 'atrank-tf[serving]'`); everything else here does without.
"""

from typing import Any

from atrank_tf.serving.client import Client, ClientError
from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.export import export_savedmodel
from atrank_tf.serving.lint import lint
from atrank_tf.serving.loader import LoadedModel, Signature, TensorInfo, load
from atrank_tf.serving.raw_inputs import request_signature
from atrank_tf.serving.rest_api import RestApi, RestResponse
from atrank_tf.serving.served_model import ServedModel, VersionStatus
from atrank_tf.serving.versions import Version, latest_version, publish, versions

_NEED_AIOHTTP = ("make_app", "serve")

__all__ = [
    "Client",
    "ClientError",
    "Code",
    "LoadedModel",
    "RestApi",
    "RestResponse",
    "ServedModel",
    "ServingError",
    "Signature",
    "TensorInfo",
    "Version",
    "VersionStatus",
    "export_savedmodel",
    "latest_version",
    "lint",
    "load",
    "make_app",
    "publish",
    "request_signature",
    "serve",
    "versions",
]


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that the package can be imported without the extra.
    if name in _NEED_AIOHTTP:
        from atrank_tf.serving import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
