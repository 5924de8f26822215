"""JSON of a request: which signature it names, and the tensors of a predict request.

A predict request has a row form (`instances`) and a columnar form (`inputs`).

The contract is TensorFlow Serving's, error texts included. Lists must be rectangular; shapes are not compared with the
signature, the graph decides.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, shown
from atrank_tf.server.json_parser import debug_string, format_error, parse_object
from atrank_tf.server.json_tensor import Column, is_base64


class Format(enum.Enum):
    """The two forms of a predict request; the response has the form of its request."""

    ROW = "row"
    COLUMNAR = "columnar"


@dataclasses.dataclass(frozen=True)
class Request:
    """A parsed body of a predict, classify or regress call; what it carries is not read yet.

    Attributes:
      document: dict. The whole JSON object.
      signature_name: str. `serving_default` where the body names none.
    """

    document: Mapping[str, Any]
    signature_name: str


def read_request(body: bytes) -> Request:
    """Parses a body as far as it can be read without a model and whatever the method.

    Raises:
      ServingError: INVALID_ARGUMENT, for a body that is not a JSON object and a `signature_name` that is not a string.
    """
    document = parse_object(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return Request(document, name or "serving_default")


def read_tensors(request: Request, inputs: Mapping[str, str]) -> tuple[Format, dict[str, NDArray[Any]]]:
    """Reads the tensors of a request.

    Args:
      request: what `read_request` returned.
      inputs: name -> dtype (`int64`, `float`, `string`, ...) of each input of the signature.

    Returns:
      The form of the request, and name -> array. Row: `[items] + shape of an item`. Columnar: the shape of the nested
      lists. Strings are object arrays of bytes.

    Raises:
      ServingError: INVALID_ARGUMENT, with the text that TensorFlow Serving gives; UNIMPLEMENTED for a columnar value
        of a dtype that JSON cannot carry (half, bfloat16, complex).
    """
    document = request.document
    if not inputs:
        raise _invalid(f"Failed to get input map for signature: {shown(request.signature_name)}")
    if "instances" in document and "inputs" in document:
        raise format_error(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise format_error(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise format_error(document, "No values in 'instances' array")
        return Format.ROW, _read_rows(instances, inputs)
    if "inputs" in document:
        return Format.COLUMNAR, _read_columns(document["inputs"], inputs)
    raise _invalid("Missing 'inputs' or 'instances' key")


def _read_rows(instances: list[Any], inputs: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    first = instances[0]
    names_given = _is_object(first)
    if not names_given and len(inputs) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    columns = {name: Column(dtype) for name, dtype in inputs.items()}
    only = next(iter(columns.values()))
    for index, item in enumerate(instances):
        if _is_object(item) != names_given:
            wanted, got = ("object", "list") if names_given else ("value/list", "object")
            raise _invalid(f"Expecting {wanted} but got {got} at item {index} of input list")
        if not names_given:
            try:
                only.append(item)
            except ServingError as error:
                raise _item_error(f"{index}", error) from None
            continue
        for name, value in item.items():
            try:
                if name not in columns:
                    raise _invalid(f"JSON object: does not have named input: {shown(name)}")
                columns[name].append(value)
            except ServingError as error:
                raise _item_error(f"{index} key: {shown(name)}", error) from None
        if len(item) != len(columns):
            raise _invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {debug_string(item)} keys must "
                f"be equal to: {','.join(sorted(columns))}"
            )
    return {name: column.array(len(instances)) for name, column in columns.items()}


def _read_columns(value: Any, inputs: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    if not _is_object(value):
        if len(inputs) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = dict.fromkeys(inputs, value)
    tensors = {}
    for name, dtype in inputs.items():
        if name not in value:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
        column = Column(dtype)
        column.append(value[name])
        tensors[name] = column.array()
    return tensors


def _is_object(value: Any) -> bool:
    """Whether a value names inputs: `{"b64": "..."}` is a string, not an object of inputs."""
    return isinstance(value, dict) and not is_base64(value)


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def _item_error(where: str, error: ServingError) -> ServingError:
    return _invalid(
        f"Failed to process element: {where} of 'instances' list. Error: {error.code.name}: {error.message}"
    )
