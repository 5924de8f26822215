"""Loads a version for a server: a SavedModel whose warm-up requests have been run."""

import time

from absl import logging

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.example_methods import classify, regress
from atrank_tf.server.loader import LoadedModel, load
from atrank_tf.server.metrics import Metrics
from atrank_tf.server.warmup import WarmupRequest, read_warmup


def load_warm(saved_model_dir: str, *, timeout_ms: int = 0, metrics: Metrics | None = None) -> LoadedModel:
    """Loads a SavedModel version folder and runs its warm-up requests.

    Args:
      saved_model_dir: a folder with `saved_model.pb`.
      timeout_ms: longest run of a signature. Defaults to 0: no limit. A warm-up request that takes longer is broken
        off, and is no reason not to load the version.
      metrics: is told how long the warm-up took, and how it ended. Defaults to nobody.

    Raises:
      What `load`, `read_warmup` and the requests raise: a version whose warm-up fails is not loaded.
    """
    model = load(saved_model_dir, timeout_ms=timeout_ms)
    started, code = time.perf_counter(), Code.OK
    requests: list[WarmupRequest] = []
    try:
        requests = read_warmup(saved_model_dir)
        for request in requests:
            _run(model, request)
    except BaseException as error:
        code = error.code if isinstance(error, ServingError) else Code.UNKNOWN
        model.close()
        raise
    finally:
        if metrics and (requests or code is not Code.OK):
            metrics.model_warmup_latency.add(1e6 * (time.perf_counter() - started), saved_model_dir, code.name)
    return model


def _run(model: LoadedModel, request: WarmupRequest) -> None:
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
