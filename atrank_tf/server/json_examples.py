"""JSON of a classify or regress request -> serialized tf.Examples, with the rules and error texts of the REST contract.

The only form of the REST API that takes ragged data: examples may differ in features, and features in length.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, shown
from atrank_tf.server.json_parser import MAX_BODY_BYTES, encode_text, format_error, type_name
from atrank_tf.server.json_request import Request
from atrank_tf.server.json_tensor import decode_base64, is_base64


def read_examples(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> NDArray[Any]:
    """Reads `examples`, and `context` whose features every example gets.

    Integers and booleans become an int64_list, decimals, NaN and Infinity a float_list, strings and `{"b64": ...}` a
    bytes_list; a single value is a list of one.

    Args:
      request: what `read_request` returned.
      max_bytes: most bytes that the context may take in all examples together. Defaults to 8 MiB.

    Returns:
      Object array of bytes [N]: serialized tf.Examples.

    Raises:
      ServingError: INVALID_ARGUMENT, with the text that TensorFlow Serving gives: no `examples`, an example that is no
        object, a feature with values of different kinds, or of a kind that it cannot hold; and for a context that is
        too long for so many examples.
    """
    document = request.document
    context = _serialized(document["context"]) if "context" in document else b""
    if "examples" not in document:
        # The text names classify for regress too.
        raise format_error(document, "When method is classify, key 'examples' is expected and was not found")
    listed = document["examples"]
    if not isinstance(listed, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not listed:
        raise format_error(document, "'examples' value is an empty array")
    # Else a body of n bytes, half of it context, half of it empty examples, asks for n² / 12 bytes of memory.
    if len(context) * len(listed) > max_bytes:
        raise _invalid(
            f"Expected a context of at most {max_bytes} bytes in all examples together. Received: {len(context)} bytes "
            f"for each of {len(listed)} examples. Send several requests."
        )
    examples = np.empty(len(listed), dtype=object)
    # Serialized messages one after the other are the merged message: what an example says itself stands last and wins.
    examples[:] = [context + _serialized(item) for item in listed]
    return examples


def _serialized(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise _invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    example = tf.train.Example()
    for name, content in value.items():
        _check_name(name)
        _fill(example.features.feature[name], name, content if isinstance(content, list) else [content])
    serialized: bytes = example.SerializeToString()
    return serialized


def _fill(feature: Any, name: str, values: list[Any]) -> None:
    kind, plain = "", []
    for value in values:
        found, read = _read(name, value)
        if kind and found != kind:
            raise _invalid(f"Unexpected element type in feature: {shown(name)} expecting type: {kind}")
        kind = found
        plain.append(read)
    if kind:
        getattr(feature, f"{kind}_list").value.extend(plain)


def _read(name: str, value: Any) -> tuple[str, Any]:
    """The list that a value belongs to, and the value as it stands there."""
    if isinstance(value, str):
        return "bytes", encode_text(value)
    if isinstance(value, bool):
        return "int64", int(value)
    if isinstance(value, float):
        return "float", value
    if isinstance(value, int):
        return _read_integer(name, value)
    if isinstance(value, dict) and is_base64(value):
        return "bytes", decode_base64(value)
    raise _invalid(f"Feature: {shown(name)} has element with unexpected JSON type: {type_name(value)}")


def _read_integer(name: str, value: int) -> tuple[str, int | float]:
    if -(2**63) <= value < 2**63:
        return "int64", value
    if 0 <= value < 2**64:
        raise _invalid(f"Feature: {shown(name)} has uint64 element. Only int64 is supported.")
    try:
        return "float", float(value)
    except OverflowError:
        raise _invalid("JSON Parse error: Number too big to be stored in double.") from None


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _invalid(f"Feature name {shown(name)!a} is not UTF-8.") from None


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
