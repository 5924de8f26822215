"""Warm-up requests beside a SavedModel, which a server runs while it loads a version, before any user waits.

`<version>/assets.extra/tf_serving_warmup_requests` is a TFRecord file of `PredictionLog` messages, as TensorFlow
Serving reads it. There too, a version whose warm-up fails is not served.
"""

import dataclasses
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging
from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, invalid
from atrank_tf.server.examples import classify, regress
from atrank_tf.server.loader import LoadedModel, load
from atrank_tf.server.metrics import Metrics
from atrank_tf.server.protos import new_message
from atrank_tf.server.version_checksums import renew_checksum

MAX_REQUESTS = 1000
"""TensorFlow Serving refuses a version with more."""

_FILE = "assets.extra/tf_serving_warmup_requests"
_DEFAULT_SIGNATURE = "serving_default"
_METHODS = {"tensorflow/serving/classify": "classify", "tensorflow/serving/regress": "regress"}


@dataclasses.dataclass(frozen=True)
class WarmupRequest:
    """Call of a signature that warms it up.

    Attributes:
        inputs: name -> array, as for `LoadedModel.run`. A classify or regress call has one input, `inputs`: serialized
            tf.Examples, an object array of bytes [N].
        signature_name: str. Defaults to `serving_default`.
        method: `predict`, `classify` or `regress`. Defaults to `predict`.
    """

    inputs: Mapping[str, NDArray[Any]]
    signature_name: str = _DEFAULT_SIGNATURE
    method: str = "predict"


def write_warmup(saved_model_dir: str, requests: Iterable[WarmupRequest]) -> None:
    """Writes the warm-up requests of a SavedModel, in place of those that it has.

    What `export_model` wrote has some, and checksums: that of the file is renewed.

    Args:
        saved_model_dir: a folder with `saved_model.pb`, before it is published.
        requests: 1 to 1,000.

    Raises:
        ValueError: none or too many, a method that is neither `predict`, `classify` nor `regress`, or checksums that
            are damaged.
    """
    logs = [_to_log(request) for request in requests]
    if not 0 < len(logs) <= MAX_REQUESTS:
        raise ValueError(f"Expected 1 to {MAX_REQUESTS} warm-up requests. Received: {len(logs)}.")
    path = Path(saved_model_dir) / _FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString(deterministic=True))
    renew_checksum(saved_model_dir, _FILE)


def read_warmup(saved_model_dir: str) -> list[WarmupRequest]:
    """Reads the warm-up requests of a SavedModel, in order; empty where there is no such file.

    Raises:
        ServingError: DATA_LOSS for a file that is no TFRecord file, INVALID_ARGUMENT for other records than
            `PredictionLog` or more than 1,000, UNIMPLEMENTED for `session_run_log`.
    """
    path = Path(saved_model_dir) / _FILE
    if not path.is_file():
        return []
    requests: list[WarmupRequest] = []
    try:
        for number, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator(), start=1):
            if number > MAX_REQUESTS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MAX_REQUESTS}) at {path}")
            requests += _from_record(record, path)
    except tf.errors.DataLossError as error:
        message = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise ServingError(Code.DATA_LOSS, message) from None
    return requests


def load_warm(
    saved_model_dir: str,
    *,
    timeout_ms: int = 0,
    metrics: Metrics | None = None,
    warm_up: bool = True,
    require_checksums: bool = False,
) -> LoadedModel:
    """Loads a SavedModel version folder and runs its warm-up requests.

    Args:
        saved_model_dir: a folder with `saved_model.pb`.
        timeout_ms: longest run of a signature. Defaults to 0: no limit. A warm-up request that takes longer is broken
            off, and is no reason not to load the version.
        metrics: is told how long load and warm-up took, and how they ended. Defaults to nobody.
        warm_up: whether the requests are run. Defaults to True.
        require_checksums: see `load`.

    Raises:
        What `load`, `read_warmup` and the requests raise: a version whose warm-up fails is not loaded.
    """
    started = time.perf_counter()
    model = None
    try:
        model = load(saved_model_dir, timeout_ms=timeout_ms, require_checksums=require_checksums)
    finally:
        if metrics:
            metrics.load_attempt_count.add(saved_model_dir, "success" if model else "fail")
            if model:
                metrics.load_latency.add(saved_model_dir, by=round(1e6 * (time.perf_counter() - started)))
    started, code = time.perf_counter(), Code.OK
    requests: list[WarmupRequest] = []
    try:
        requests = read_warmup(saved_model_dir) if warm_up else []
        for request in requests:
            _run_request(model, request)
    except BaseException as error:
        code = error.code if isinstance(error, ServingError) else Code.UNKNOWN
        model.close()
        raise
    finally:
        if metrics and (requests or code is not Code.OK):
            metrics.model_warmup_latency.add(1e6 * (time.perf_counter() - started), saved_model_dir, code.name)
    return model


def _to_log(request: WarmupRequest) -> Any:
    log = new_message("PredictionLog")
    if request.method == "predict":
        call = log.predict_log.request
        for name, value in request.inputs.items():
            dtype = tf.string if value.dtype.kind in "OSU" else None
            tensor = tf.make_tensor_proto(value, dtype, value.shape)
            call.inputs[name].MergeFromString(tensor.SerializeToString())
    elif request.method in ("classify", "regress"):
        call = getattr(log, f"{request.method}_log").request
        call.input.example_list.examples.extend(request.inputs["inputs"])
    else:
        raise ValueError(f"Expected the method predict, classify or regress. Received: {request.method!r}.")
    call.model_spec.signature_name = request.signature_name
    return log


def _from_record(record: bytes, path: Path) -> list[WarmupRequest]:
    log = new_message("PredictionLog")
    try:
        log.ParseFromString(record)
    except Exception as error:  # protobuf's DecodeError; what it derives from differs between its implementations
        raise invalid(f"Failed to parse warmup record from {path}: {error}") from None
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        call = log.predict_log.request
        return [_request("predict", call.model_spec, {name: tf.make_ndarray(t) for name, t in call.inputs.items()})]
    if kind in ("classify_log", "regress_log"):
        call = getattr(log, kind).request
        return [_request(kind.removesuffix("_log"), call.model_spec, _examples(call.input))]
    if kind == "multi_inference_log":
        call = log.multi_inference_log.request
        unknown = {task.method_name for task in call.tasks} - _METHODS.keys()
        if unknown:
            raise ServingError(Code.UNIMPLEMENTED, f"Unrecognized signature method_name: {sorted(unknown)} in {path}")
        return [_request(_METHODS[task.method_name], task.model_spec, _examples(call.input)) for task in call.tasks]
    if kind == "session_run_log":
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind} in {path}")
    return []  # a log without a request, as there


def _request(method: str, model_spec: Any, inputs: Mapping[str, NDArray[Any]]) -> WarmupRequest:
    return WarmupRequest(inputs, model_spec.signature_name or _DEFAULT_SIGNATURE, method)


def _examples(message: Any) -> dict[str, NDArray[Any]]:
    context = message.example_list_with_context.context
    listed = getattr(message, message.WhichOneof("kind") or "example_list").examples
    examples = np.empty(len(listed), dtype=object)
    examples[:] = [context + example for example in listed]
    return {"inputs": examples}


def _run_request(model: LoadedModel, request: WarmupRequest) -> None:
    try:
        _call(model, request)
    except ServingError as error:
        # The limit of what is run belongs to the executor that a warm-up is to make: another one would be cold. What
        # takes long is making it, before the limit begins.
        if error.code is not Code.DEADLINE_EXCEEDED:
            raise
        logging.warning("Warm-up of signature %s: broken off, as a request would be.", request.signature_name)


def _call(model: LoadedModel, request: WarmupRequest) -> None:
    if request.method == "predict":
        model.run(request.signature_name, request.inputs)
    else:
        method = {"classify": classify, "regress": regress}[request.method]
        method(model, request.signature_name, request.inputs["inputs"])
