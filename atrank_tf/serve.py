"""Serves SavedModels under TensorFlow Serving's REST API; flags that it has too have its names.

python -m atrank_tf.serve --model_name=market --model_base_path=export/market
curl -d '{"inputs": {...}}' http://127.0.0.1:8501/v1/models/market:predict
"""

import functools
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from absl import flags, logging

from atrank_tf import command, server
from atrank_tf.server import upstream_flags
from atrank_tf.server.settings import ServerSettings, most_connections
from atrank_tf.version import __version__

# Else TensorFlow keeps the memory of the largest request for ever. It reads this when it allocates first.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")

_SETTINGS: dict[str, flags.FlagHolder[Any]] = {}
"""Field of `ServerSettings` -> the flag that sets it."""


def _count(flag: str, field: str, what: str, default: int | None = None) -> None:
    value = getattr(ServerSettings, field) if default is None else default
    _SETTINGS[field] = flags.DEFINE_integer(flag, value, what, lower_bound=1)


def _seconds(flag: str, field: str, what: str) -> None:
    _SETTINGS[field] = flags.DEFINE_float(flag, getattr(ServerSettings, field), what, lower_bound=0.0)


_MODEL_NAME = flags.DEFINE_string("model_name", "default", "Name of the model in URLs: /v1/models/NAME.")
_MODEL_BASE_PATH = flags.DEFINE_string(
    "model_base_path", None, "Folder of version folders (1, 2, ...); the largest number is served."
)
_MODEL_CONFIG_FILE = flags.DEFINE_string(
    "model_config_file",
    None,
    "ModelServerConfig in text format: models, policies, labels. Then --model_name and --model_base_path are not read.",
)
_seconds(
    "model_config_file_poll_wait_seconds",
    "config_poll_seconds",
    "Seconds between two readings of --model_config_file; 0 reads it once.",
)
_seconds("file_system_poll_wait_seconds", "poll_seconds", "Seconds between two looks for new versions; 0 looks once.")
_LOAD_THREADS = flags.DEFINE_integer(
    "num_load_threads", 4, "Models of which versions are loaded at once; 0 is 4.", lower_bound=0
)
_MAX_RETRIES = flags.DEFINE_integer(
    "max_num_load_retries", 5, "How often a version that cannot be loaded is tried again.", lower_bound=0
)
_RETRY_MICROS = flags.DEFINE_integer(
    "load_retry_interval_micros",
    60_000_000,
    "Microseconds until such a version is tried again; below 0 it does not wait.",
)
_ANY_LABEL = flags.DEFINE_bool(
    "allow_version_labels_for_unavailable_models", False, "A new label may point to a version that is not available."
)
_WARMUP = flags.DEFINE_bool(
    "enable_model_warmup", True, "Run a version's assets.extra/tf_serving_warmup_requests before it is served."
)
_REQUIRE_CHECKSUMS = flags.DEFINE_bool(
    "require_checksums", False, "Refuse a version with a file that assets.extra/checksums.json does not name."
)
_SETTINGS["port"] = flags.DEFINE_integer(
    "rest_api_port", ServerSettings.port, "TCP port; 0 takes a free one.", lower_bound=0, upper_bound=65535
)
_SETTINGS["host"] = flags.DEFINE_string(
    "rest_api_host", ServerSettings.host, "Address to bind. There is no access control: 0.0.0.0 lets anyone in."
)
_ALLOWED_HOSTS = flags.DEFINE_list(
    "allowed_hosts", [], "Names that requests may call this server by, without port; none lets any through."
)
_count(
    "rest_api_num_threads",
    "num_threads",
    "Requests that are worked on at once. Defaults to 4 for each CPU.",
)
_count("rest_api_timeout_in_ms", "timeout_ms", "Longest time for a request; then it gets 504.")
_SETTINGS["cors"] = flags.DEFINE_bool(
    "rest_api_enable_cors_support", ServerSettings.cors, "Let web pages of any origin call."
)
_count(
    "rest_api_max_connections",
    "max_connections",
    "Most connections at once; then idle ones are closed. Defaults to half of the files that may be open, or 1,000.",
    most_connections(),
)
_seconds("rest_api_keepalive_seconds", "keepalive_seconds", "Seconds until a connection without a request is closed.")
_seconds("drain_seconds", "drain_seconds", "Seconds from SIGTERM to the end, in which requests are answered first.")
_count("rest_api_max_body_bytes", "max_body_bytes", "Longest request body; longer get 413.")
_count(
    "rest_api_max_bytes_in_flight",
    "max_bytes_in_flight",
    "Most bytes of unfinished bodies, beyond the first 64 KiB of each; more get 503.",
)
_count("rest_api_max_lists", "max_lists", "Most lists and objects in a body; more get 400.")
_count("rest_api_max_values", "max_values", "Most values in a body, or of a feature in padded Examples; more get 400.")
_count("rest_api_max_work_bytes", "max_work_bytes", "Most memory of the requests that models work on; more get 400.")
_count(
    "rest_api_max_candidates",
    "max_candidates",
    "Most candidates in a request, of all its users together; more get 400.",
)
_count(
    "rest_api_max_memory_reads",
    "max_memory_reads",
    "Most candidates times behaviors of a memory that comes with them; more get 400.",
)
_count(
    "rest_api_max_output_values",
    "max_output_values",
    "Most values in an answer, of all outputs together; more get 400.",
)
_SETTINGS["access_log"] = flags.DEFINE_bool("access_log", False, "Write a line of JSON for each request to stdout.")
_MONITORING_CONFIG_FILE = flags.DEFINE_string(
    "monitoring_config_file", None, "MonitoringConfig in text format; may enable the page that Prometheus reads."
)
_PLAYGROUND = flags.DEFINE_string(
    "playground", None, "Serve a page to play with the models at /, which begins with the predict request in this file."
)
_PLAYGROUND_RECORDS = flags.DEFINE_string(
    "playground_records", None, "Records folder of the model, whose titles the page shows beside ids."
)
_INTRA_OP = flags.DEFINE_integer(
    "tensorflow_intra_op_parallelism", 0, "Threads that share one operation; 0 is one for each CPU.", lower_bound=0
)
_INTER_OP = flags.DEFINE_integer(
    "tensorflow_inter_op_parallelism", 0, "Operations that run at once; 0 is one for each CPU.", lower_bound=0
)
_VERSION = flags.DEFINE_bool("version", False, "Say which version this is, and end.")
upstream_flags.define()

command.check_paths(_MODEL_BASE_PATH, stores=True)
command.check_paths(_MODEL_CONFIG_FILE, _MONITORING_CONFIG_FILE, _PLAYGROUND)
command.reads_records(_PLAYGROUND_RECORDS)


def check() -> None:
    """Looks for the files that the flags name."""
    if _VERSION.value:
        return
    if not (_MODEL_BASE_PATH.value or _MODEL_CONFIG_FILE.value):
        raise ValueError("Expected --model_base_path or --model_config_file. Received: neither.")
    if _PLAYGROUND_RECORDS.value and not _PLAYGROUND.value:
        raise ValueError("--playground_records is for the page of --playground, which has the first request.")
    for flag in (_MODEL_CONFIG_FILE, _MONITORING_CONFIG_FILE, _PLAYGROUND):
        if flag.value and not Path(flag.value).is_file():
            raise FileNotFoundError(f"Expected a file at {flag.value}, for --{flag.name}. Found none.")
    if _PLAYGROUND_RECORDS.value:
        command.check_records(_PLAYGROUND_RECORDS.value)
    _check_port(_SETTINGS["host"].value, _SETTINGS["port"].value)


def _check_port(host: str, port: int) -> None:
    """Raises OSError unless the port can be bound now: nobody waits for a model to be told that it cannot."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(address)
    except OSError as error:
        raise OSError(
            "Expected an address of this machine and a free port (--rest_api_host, --rest_api_port). "
            f"Received: port {port} of {host}, {error.strerror}."
        ) from error


def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    import tensorflow as tf

    if _VERSION.value:
        sys.stdout.write(f"atrank_tf {__version__}\nTensorFlow {tf.__version__}\n")
        return
    logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))  # Which version is served, and since when.
    ignored = upstream_flags.ignored()
    if ignored:
        logging.warning("Not served here, as by TensorFlow Serving (docs/deployment.md): %s.", ", ".join(ignored))
    monitoring = _MONITORING_CONFIG_FILE.value
    settings = ServerSettings(
        **{field: flag.value for field, flag in _SETTINGS.items()},
        allowed_hosts=tuple(name.lower() for name in _ALLOWED_HOSTS.value),
        metrics_path=server.read_metrics_path(monitoring) if monitoring else None,
    )
    configs = _read_configs()
    metrics = server.Metrics()
    load = functools.partial(
        server.load_warm,
        timeout_ms=settings.timeout_ms,
        metrics=metrics,
        warm_up=_WARMUP.value,
        require_checksums=_REQUIRE_CHECKSUMS.value,
    )
    make = functools.partial(
        server.ServedModel,
        load=load,
        max_retries=_MAX_RETRIES.value,
        retry_seconds=_RETRY_MICROS.value / 1e6,
        any_label=_ANY_LABEL.value,
    )
    server.serve(
        server.ServedModels(configs, make, num_load_threads=_LOAD_THREADS.value or 4),
        settings,
        metrics=metrics,
        read_config=_read_configs if _MODEL_CONFIG_FILE.value else None,
        home_page=_playground(_PLAYGROUND.value, configs) if _PLAYGROUND.value else None,
        on_ready=_announce,
    )
    _leave_behind()


def _leave_behind() -> None:
    """Ends the process now if a version is still being loaded or scored with: an ordinary end waits for its thread."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        logging.warning("A version is still being loaded, or scored with: it is not waited for.")
        logging.flush()
        os._exit(0)


def _read_configs() -> "list[server.ModelConfig]":
    if _MODEL_CONFIG_FILE.value:
        return server.read_model_config(_MODEL_CONFIG_FILE.value)
    return [server.ModelConfig(_MODEL_NAME.value, _MODEL_BASE_PATH.value or "")]


def _playground(path: str, configs: "list[server.ModelConfig]") -> str:
    from atrank_tf.data import Records
    from atrank_tf.explanation import playground_page, playground_titles

    titles = playground_titles(Records(_PLAYGROUND_RECORDS.value)) if _PLAYGROUND_RECORDS.value else None
    try:
        return playground_page([config.name for config in configs], json.loads(Path(path).read_text("utf-8")), titles)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _announce(urls: list[str]) -> None:
    sys.stdout.writelines(f"Ready: {url}\n" for url in urls)
    if _PLAYGROUND.value:
        sys.stdout.write(f"Playground: {urls[0].partition('/v1/')[0]}/\n")
    sys.stdout.flush()


def _set_threads() -> None:
    import tensorflow as tf

    # TensorFlow takes these with its devices, once for the process.
    tf.config.threading.set_intra_op_parallelism_threads(_INTRA_OP.value)
    tf.config.threading.set_inter_op_parallelism_threads(_INTER_OP.value)


if __name__ == "__main__":
    command.run(main, check, before_devices=_set_threads)
