"""The REST contract without a network: method, path and body in, HTTP status and body out."""

import dataclasses
import json
from typing import Any

from absl import logging
from google.protobuf import json_format

from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.json_request import read_request, read_tensors
from atrank_tf.serving.json_response import write_predict_response
from atrank_tf.serving.rest_path import RestPath, parse_path
from atrank_tf.serving.served_model import ServedModel, not_found


@dataclasses.dataclass(frozen=True)
class RestResponse:
    """HTTP status and JSON body of an answer. Content-Type is always `application/json`."""

    status: int
    body: bytes


class RestApi:
    """Answers the calls of TensorFlow Serving's REST API for one model: predict, status and metadata.

    `answer` blocks while the model runs, and may be called from many threads at once. Classify and regress are not
    there yet: 501.

    Args:
      model: what is served.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def answer(self, http_method: str, path: str, body: bytes) -> RestResponse:
        """Answers one call; never raises.

        Args:
          http_method: `GET`, `POST`, ...
          path: as in the request line: percent-encoded, with the query string if there is one.
          body: bytes of the request.

        Returns:
          200 with the answer, or the status of the error with `{"error": "<message>"}`.
        """
        try:
            return RestResponse(200, self._answer(parse_path(http_method, path), body))
        except ServingError as error:
            return error_response(error)
        except Exception:  # a bug: the log gets the traceback, the client does not
            logging.exception("%s %s failed.", http_method, path)
            return error_response(ServingError(Code.INTERNAL, "Internal error"))

    def _answer(self, path: RestPath, body: bytes) -> bytes:
        if path.method == "predict":
            return self._predict(path, body)
        if path.method:
            raise ServingError(Code.UNIMPLEMENTED, f"{path.method} is not implemented by this server: use predict")
        return self._metadata(path) if path.subresource else self._status(path)

    def _predict(self, path: RestPath, body: bytes) -> bytes:
        request = read_request(body)
        self._check_name(path)
        with self._model.lease(path.version, path.label) as (_, loaded):
            signature = loaded.signature(request.signature_name)
            form, tensors = read_tensors(request, {name: info.dtype for name, info in signature.inputs.items()})
            outputs = loaded.run(request.signature_name, tensors)
        return write_predict_response(outputs, form)

    def _status(self, path: RestPath) -> bytes:
        # A label is taken and ignored here: that is the contract.
        statuses = self._model.statuses() if path.model == self._model.name else []
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
        self._check_name(path)
        with self._model.lease(path.version, path.label) as (number, loaded):
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

    def _check_name(self, path: RestPath) -> None:
        if path.model != self._model.name:
            raise not_found(path.model, path.version)


def error_response(error: ServingError) -> RestResponse:
    """The answer that the contract gives to an error."""
    return RestResponse(error.code.http_status, _json({"error": error.message}))


def _json(body: dict[str, Any]) -> bytes:
    # A path or a kernel's text may hold half a surrogate pair, which has no UTF-8 form.
    return json.dumps(body, ensure_ascii=False, indent=4).encode("utf-8", "replace")
