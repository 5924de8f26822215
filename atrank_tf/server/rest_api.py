"""TensorFlow Serving's REST API without a network: method, path and body in, HTTP status and body out."""

import dataclasses
import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from urllib.parse import unquote

from absl import logging
from google.protobuf import json_format
from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, invalid
from atrank_tf.server.examples import classify, read_examples, regress
from atrank_tf.server.json_request import Request, read_request
from atrank_tf.server.json_response import write_classifications, write_predict_response, write_regressions
from atrank_tf.server.json_tensors import read_tensors
from atrank_tf.server.limits import check_body, check_inputs, check_outputs
from atrank_tf.server.loader import LoadedModel
from atrank_tf.server.metrics import Metrics
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.served_models import ServedModels
from atrank_tf.server.settings import ServerSettings
from atrank_tf.server.work_budget import WorkBudget

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"/v1/models/(?P<model>[^/:]+){_VERSION}:(?P<method>predict|classify|regress)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_VERSION}(?:/(?P<subresource>metadata))?", re.IGNORECASE)

_MAX_VERSION = 2**63 - 1

# Bytes of a body that is parsed in less than 10 ms.
_LARGE = 256 * 1024


@dataclasses.dataclass(frozen=True)
class RestPath:
    """Parsed path of a call.

    Attributes:
        model: str, percent-decoded.
        version: int, or None for the newest.
        label: str, percent-decoded, or None. Never together with a version.
        method: `predict`, `classify` or `regress`; empty for a GET.
        subresource: `metadata` (in any case), or empty for the status.
    """

    model: str
    version: int | None = None
    label: str | None = None
    method: str = ""
    subresource: str = ""


@dataclasses.dataclass(frozen=True)
class RestResponse:
    """HTTP status and JSON body of an answer. Content-Type is always `application/json`."""

    status: int
    body: bytes


class RestApi:
    """Answers the calls of TensorFlow Serving's REST API: predict, classify, regress, status and metadata.

    `answer` blocks while the model runs, and may be called from many threads at once.

    Args:
        models: what is served; one model may stand alone.
        settings: their limits hold. Defaults to the defaults.
        metrics: what counts the calls. Defaults to new ones.
    """

    def __init__(
        self,
        models: ServedModels | ServedModel,
        settings: ServerSettings | None = None,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self._models = ServedModels.of(models)
        self._settings = settings or ServerSettings()
        self._metrics = metrics or Metrics()
        self._parsing = WorkBudget(1)
        self._work = WorkBudget(self._settings.max_work_bytes)

    def answer(self, http_method: str, path: str, body: bytes, *, deadline: float = math.inf) -> RestResponse:
        """Answers one call; never raises.

        Args:
            http_method: `GET`, `POST`, ...
            path: as in the request line: percent-encoded, with the query string if there is one.
            body: bytes of the request.
            deadline: reading of `time.monotonic` after which nobody waits for the answer any more. Defaults to never.

        Returns:
            200 with the answer, or the status of the error with `{"error": "<message>"}`.
        """
        started = time.monotonic()
        model = api = ""
        try:
            parsed = parse_path(http_method, path)
            model, api = parsed.model, parsed.method
            _check_deadline(deadline)  # it may have waited for its turn
            response, code = RestResponse(200, self._answer(parsed, body, deadline)), Code.OK
            _check_deadline(deadline)
        except ServingError as error:
            response, code = error_response(error), error.code
        except Exception:  # a bug: the log gets the traceback, the client does not
            logging.exception("%s %s failed.", http_method, path)
            code = Code.INTERNAL
            response = error_response(ServingError(code, "Internal error"))
        self._count(model, api, code, time.monotonic() - started)
        return response

    def refuse(self, http_method: str, path: str, error: ServingError) -> RestResponse:
        """Answers a call whose body did not come, or not whole, by an error, and counts it; never raises."""
        try:
            model = parse_path(http_method, path).model
        except ServingError:
            model = ""
        self._count(model, "", error.code, 0.0)
        return error_response(error)

    def versions(self) -> dict[str, int | None]:
        """Returns the newest version of each model that answers; None for a model that has none."""
        return {
            name: max((s.version for s in self._models.statuses(name) if s.state == "AVAILABLE"), default=None)
            for name in self._models.names
        }

    def _answer(self, path: RestPath, body: bytes, deadline: float) -> bytes:
        if path.method == "predict":
            return self._predict(path, body, deadline)
        if path.method:
            with self._large_one_by_one(body, deadline):
                request = self._read(body, deadline)
                examples = read_examples(request, max_bytes=self._settings.max_body_bytes)
            _check_deadline(deadline)
            return {"classify": self._classify, "regress": self._regress}[path.method](path, request, examples)
        return self._metadata(path) if path.subresource == "metadata" else self._status(path)

    def _read(self, body: bytes, deadline: float) -> Request:
        check_body(body, self._settings)
        request = read_request(body)
        _check_deadline(deadline)
        return request

    def _large_one_by_one(self, body: bytes, deadline: float) -> AbstractContextManager[None]:
        """Lets a large body be parsed alone: no other thread runs meanwhile, and what is parsed takes much memory."""
        return self._parsing.take(int(len(body) > _LARGE), deadline)

    def _predict(self, path: RestPath, body: bytes, deadline: float) -> bytes:
        with ExitStack() as stack:
            stack.enter_context(self._models.turns.take(1, deadline))
            with self._large_one_by_one(body, deadline):
                request = self._read(body, deadline)
                _, loaded = stack.enter_context(self._lease(path))
                name = request.signature_name
                signature = loaded.signature(name)
                form, tensors = read_tensors(request, {name: info.dtype for name, info in signature.inputs.items()})
                del request  # what was parsed takes more memory than what was read
                work = check_inputs(tensors, loaded.limited_inputs, self._settings)
            _check_deadline(deadline)
            stack.enter_context(self._work.take(work, deadline))
            with self._timed(path.model, "Predict"):
                outputs = loaded.run(name, tensors)
            check_outputs(outputs, max_output_values=self._settings.max_output_values)
            return write_predict_response(outputs, form)

    def _classify(self, path: RestPath, request: Request, examples: NDArray[Any]) -> bytes:
        with self._lease(path) as (_, loaded), self._timed(path.model, "Classify"):
            labels, scores = classify(loaded, request.signature_name, examples)
        self._count_examples(path.model, len(examples))
        check_outputs({"classes": labels, "scores": scores}, max_output_values=self._settings.max_output_values)
        return write_classifications(labels, scores)

    def _regress(self, path: RestPath, request: Request, examples: NDArray[Any]) -> bytes:
        with self._lease(path) as (_, loaded), self._timed(path.model, "Regress"):
            values = regress(loaded, request.signature_name, examples)
        self._count_examples(path.model, len(examples))
        check_outputs({"outputs": values}, max_output_values=self._settings.max_output_values)
        return write_regressions(values)

    def _status(self, path: RestPath) -> bytes:
        # A label is taken and ignored here: that is the contract.
        statuses = self._models.statuses(path.model)
        if path.version is not None:
            statuses = [status for status in statuses if status.version == path.version]
            if not statuses:
                raise ServingError(Code.NOT_FOUND, f"Could not find version {path.version} of model {path.model}")
        if not statuses:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {path.model}")
        return _json(
            {
                "model_version_status": [
                    {
                        "version": str(status.version),
                        "state": status.state,
                        "status": {"error_code": status.code.name, "error_message": status.message},
                    }
                    for status in statuses
                ]
            }
        )

    def _metadata(self, path: RestPath) -> bytes:
        with self._lease(path) as (number, loaded):
            signatures = {
                name: json_format.MessageToDict(
                    proto, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
                )
                for name, proto in sorted(loaded.signature_defs.items())
            }
        return _json(
            {
                "model_spec": {"name": path.model, "signature_name": "", "version": str(number)},
                "metadata": {"signature_def": {"signature_def": signatures}},
            }
        )

    def _lease(self, path: RestPath) -> AbstractContextManager[tuple[int, LoadedModel]]:
        return self._models.lease(path.model, path.version, path.label)

    @contextmanager
    def _timed(self, model: str, api: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._metrics.runtime_latency.add(1e6 * (time.perf_counter() - started), model, api, "TF1")

    def _count_examples(self, model: str, number: int) -> None:
        self._metrics.request_example_counts.add(number, model)
        self._metrics.request_example_count_total.add(model, by=number)

    def _count(self, model: str, api: str, code: Code, seconds: float) -> None:
        # Names that clients make up must not fill the memory.
        known = model if model in self._models.names else ""
        self._metrics.request_count.add(known, code.name)
        if code is Code.OK:
            self._metrics.request_latency.add(1e6 * seconds, known, api, "REST")


def parse_path(http_method: str, path: str) -> RestPath:
    """Parses method and path of a call under `/v1/`.

    Args:
        http_method: `GET`, `POST`, ...
        path: as in the request line, still percent-encoded, query string included: by contract none is allowed.

    Raises:
        ServingError: INVALID_ARGUMENT, `Malformed request: <method> <path>`, for wrong HTTP methods too; `Missing model
            name in request.` for a GET without one.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(http_method)
    match = pattern.fullmatch(path) if pattern else None
    # The path is matched whatever its case, the method is not: `:PREDICT` reaches no handler.
    if match is None or (http_method == "POST" and not match["method"].islower()):
        raise invalid(f"Malformed request: {http_method} {path}")
    found = match.groupdict()
    if found["model"] is None:
        raise invalid("Missing model name in request.")
    version, label = found["version"], found["label"]
    digits = version and (version.lstrip("0") or "0")  # Python reads no number of more than 4,300 digits
    if digits and (len(digits) > 19 or int(digits) > _MAX_VERSION):
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return RestPath(
        model=unquote(found["model"]),
        version=int(digits) if digits else None,
        label=None if label is None else unquote(label),
        method=found.get("method") or "",
        subresource=found.get("subresource") or "",
    )


def error_response(error: ServingError) -> RestResponse:
    """Returns the answer that the contract gives to an error."""
    return RestResponse(error.code.http_status, _json({"error": error.message}))


def _check_deadline(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ServingError(Code.DEADLINE_EXCEEDED, "The request was not answered within its time limit")


def _json(body: dict[str, Any]) -> bytes:
    # A path or a kernel's text may hold half a surrogate pair, which has no UTF-8 form.
    return json.dumps(body, ensure_ascii=False, indent=4).encode("utf-8", "replace")
