"""Loads a version for a server: a SavedModel whose warm-up requests have been run."""

import time

from atrank_tf.serving.errors import Code
from atrank_tf.serving.loading.loader import LoadedModel, load
from atrank_tf.serving.loading.warmup import WarmupRequest, read_warmup
from atrank_tf.serving.metrics import Metrics
from atrank_tf.serving.rest.example_methods import classify, regress


def load_warm(saved_model_dir: str, *, timeout_ms: int = 0, metrics: Metrics | None = None) -> LoadedModel:
    """Loads a SavedModel version folder and runs its warm-up requests.

    Args:
      saved_model_dir: a folder with `saved_model.pb`.
      timeout_ms: longest run of a signature. Defaults to 0: no limit.
      metrics: is told how long the warm-up took. Defaults to nobody.

    Raises:
      What `load`, `read_warmup` and the requests raise: a version whose warm-up fails is not loaded.
    """
    model = load(saved_model_dir, timeout_ms=timeout_ms)
    try:
        started = time.perf_counter()
        requests = read_warmup(saved_model_dir)
        for request in requests:
            _run(model, request)
    except BaseException:
        model.close()
        raise
    if requests and metrics:
        metrics.model_warmup_latency.add(1e6 * (time.perf_counter() - started), saved_model_dir, Code.OK.name)
    return model


def _run(model: LoadedModel, request: WarmupRequest) -> None:
    if request.method == "predict":
        model.run(request.signature_name, request.inputs)
    else:
        method = {"classify": classify, "regress": regress}[request.method]
        method(model, request.signature_name, request.inputs["inputs"])
