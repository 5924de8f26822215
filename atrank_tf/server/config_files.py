"""Configuration files of a server, in TensorFlow Serving's text formats: its models, and its metrics page."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from atrank_tf.paths import check_scheme
from atrank_tf.server.protos import new_message
from atrank_tf.server.versions import NEWEST, All, Latest, Specific, VersionPolicy

_PLATFORM = "tensorflow"
_METRICS_PATH = "/monitoring/prometheus/metrics"


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model of a server.

    Attributes:
        name: str. In URLs: `/v1/models/NAME`.
        base_path: str. Folder of version folders.
        policy: which versions are served. Defaults to the newest.
        labels: label -> version number. Defaults to none.
    """

    name: str
    base_path: str
    policy: VersionPolicy = NEWEST
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read_model_config(path: str) -> list[ModelConfig]:
    """Reads a `--model_config_file`: a `ModelServerConfig` with a `model_config_list`, in text format.

    Raises:
        OSError: no such file.
        ValueError: not a file of that kind (says the line), no model, a name twice or none, no base path, or another
            platform than `tensorflow`.
    """
    listed = _parse(path, "ModelServerConfig").model_config_list.config
    if not listed:
        raise ValueError(f"Expected model_config_list {{ config {{ ... }} }} in {path}. Received: no model.")
    configs: dict[str, ModelConfig] = {}
    for proto in listed:
        config = _model(path, proto)
        if config.name in configs:
            raise ValueError(f"Expected each model once in {path}. Received: {config.name!r} twice.")
        configs[config.name] = config
    return list(configs.values())


def read_metrics_path(path: str) -> str | None:
    """Reads a `--monitoring_config_file`: a `MonitoringConfig` in text format.

    Returns:
        The path of the Prometheus page, `/monitoring/prometheus/metrics` where the file names none; None if the file
        does not enable it.

    Raises:
        OSError: no such file.
        ValueError: not a file of that kind (says the line), or a path that does not begin with a slash, or with `/v1/`.
    """
    prometheus = _parse(path, "MonitoringConfig").prometheus_config
    if not prometheus.enable:
        return None
    page = str(prometheus.path) or _METRICS_PATH
    if not page.startswith("/") or page.lower().startswith("/v1/"):
        raise ValueError(f"Expected a path such as {_METRICS_PATH} in {path}, outside of /v1/. Received: {page!r}.")
    return page


def _model(path: str, proto: Any) -> ModelConfig:
    for field in ("name", "base_path"):
        if not getattr(proto, field):
            raise ValueError(f"Expected a {field} for every model in {path}. Received: {_one_line(proto)}.")
    check_scheme(proto.base_path, stores=True)
    if proto.model_platform != _PLATFORM:
        raise ValueError(
            f"Expected model_platform: {_PLATFORM!r} for model {proto.name!r} in {path}. "
            f"Received: {proto.model_platform!r}."
        )
    return ModelConfig(proto.name, proto.base_path, _policy(proto.model_version_policy), dict(proto.version_labels))


def _policy(proto: Any) -> VersionPolicy:
    choice = proto.WhichOneof("policy_choice")
    if choice == "all":
        return All()
    if choice == "specific":
        return Specific(frozenset(proto.specific.versions))
    return Latest(proto.latest.num_versions)


def _parse(path: str, message: str) -> Any:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"Expected a {message} in text format. Received: {path}, which is no file.")
    try:
        return text_format.Parse(file.read_text("utf-8"), new_message(message))
    except text_format.ParseError as error:
        raise ValueError(f"Expected a {message} in text format in {path}. Received, at line {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected a {message} in text format in {path}. Received: {error}.") from None


def _one_line(proto: Any) -> str:
    return str(text_format.MessageToString(proto, as_one_line=True))
