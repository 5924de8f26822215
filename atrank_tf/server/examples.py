"""Classify and regress calls: JSON -> serialized tf.Examples, and the calls of a signature with them.

The only form of the REST API that takes ragged data: examples may differ in features, and features in length. As in
TensorFlow Serving since 2.15 the `method_name` of a signature is not looked at, only its inputs and outputs.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, invalid, shown
from atrank_tf.server.json_request import Request, encode_text, format_error, type_name
from atrank_tf.server.json_response import contract_dtype
from atrank_tf.server.json_tensors import decode_base64, is_base64
from atrank_tf.server.loader import LoadedModel


def read_examples(request: Request, *, max_bytes: int) -> NDArray[Any]:
    """Reads `examples`, and `context` whose features every example gets.

    Integers and booleans become an int64_list, decimals, NaN and Infinity a float_list, strings and `{"b64": ...}` a
    bytes_list; a single value is a list of one.

    Args:
        request: what `read_request` returned.
        max_bytes: most bytes that the context may take in all examples together.

    Returns:
        Object array of bytes [N]: serialized tf.Examples.

    Raises:
        ServingError: INVALID_ARGUMENT, with the text that TensorFlow Serving gives: no `examples`, an example that is
            no object, a feature with values of different kinds, or of a kind that it cannot hold; and for a context
            that is too long for so many examples.
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
        raise invalid(
            f"Expected a context of at most {max_bytes} bytes in all examples together. Received: {len(context)} bytes "
            f"for each of {len(listed)} examples. Send several requests."
        )
    examples = np.empty(len(listed), dtype=object)
    # Serialized messages one after the other are the merged message: what an example says itself stands last and wins.
    examples[:] = [context + _serialized(item) for item in listed]
    return examples


def classify(
    model: LoadedModel, signature_name: str, examples: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Calls a signature with the input `inputs` and the outputs `classes` (string), `scores` (float32), or both.

    Args:
        model: has the signature.
        signature_name: key of its signatures.
        examples: object array of bytes [N], serialized tf.Examples.

    Returns:
        Labels, an object array of bytes [N, K], and scores, float32 [N, K]; empty or 0 where there is no such output.

    Raises:
        ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION, with TensorFlow Serving's text, for another signature or
            other outputs; what `LoadedModel.run` raises.
    """
    proto = _signature(model, signature_name, "classification")
    if len(proto.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(proto.outputs)}")
    names = [name for name in ("classes", "scores") if name in proto.outputs]
    if not names:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {proto}",
        )
    outputs = model.run(signature_name, {"inputs": examples})
    for name, dtype in (("classes", "string"), ("scores", "float")):
        if name in names:
            _check_output(name, outputs[name], dtype, len(examples))
    widths = [outputs[name].shape[1] for name in names]
    if len(set(widths)) > 1:
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}")
    shape = (len(examples), widths[0])
    labels, scores = outputs.get("classes"), outputs.get("scores")
    return (
        np.full(shape, b"", object) if labels is None else labels,
        np.zeros(shape, np.float32) if scores is None else scores,
    )


def regress(model: LoadedModel, signature_name: str, examples: NDArray[Any]) -> NDArray[np.float32]:
    """Calls a signature with the input `inputs` and the output `outputs` (float32).

    Args:
        model: has the signature.
        signature_name: key of its signatures.
        examples: object array of bytes [N], serialized tf.Examples.

    Returns:
        float32 [N].

    Raises:
        ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION, with TensorFlow Serving's text, for another signature or
            other outputs; what `LoadedModel.run` raises.
    """
    proto = _signature(model, signature_name, "regression")
    if len(proto.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if "outputs" not in proto.outputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {proto}")
    values = model.run(signature_name, {"inputs": examples})["outputs"]
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(values)}"
        )
    if len(values) != len(examples):
        raise invalid(f"Input batch size did not match output batch size: {len(examples)} vs. {len(values)}")
    if contract_dtype(values) != "float":
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type(values)}")
    return values.reshape(-1)


def _serialized(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
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
            raise invalid(f"Unexpected element type in feature: {shown(name)} expecting type: {kind}")
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
    raise invalid(f"Feature: {shown(name)} has element with unexpected JSON type: {type_name(value)}")


def _read_integer(name: str, value: int) -> tuple[str, int | float]:
    if -(2**63) <= value < 2**63:
        return "int64", value
    if 0 <= value < 2**64:
        raise invalid(f"Feature: {shown(name)} has uint64_t element. Only int64_t is supported.")
    try:
        return "float", float(value)
    except OverflowError:
        raise invalid("JSON Parse error: Number too big to be stored in double.") from None


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise invalid(f"Feature name {shown(name)!a} is not UTF-8.") from None


def _signature(model: LoadedModel, name: str, kind: str) -> Any:
    if name not in model.signature_defs:
        raise invalid(f"No signature was found with the name: {shown(name)}")
    proto = model.signature_defs[name]
    if len(proto.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in proto.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No {kind} inputs found in SignatureDef: {proto}")
    return proto


def _check_output(name: str, array: NDArray[Any], dtype: str, num_examples: int) -> None:
    if array.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if contract_dtype(array) != dtype:
        raise invalid(f"Expected {name} Tensor of DT_{dtype.upper()}. Got: {_type(array)}")
    if len(array) != num_examples:
        raise invalid(f"Expected {name} output batch size of {num_examples}. Got: {len(array)}")


def _shape(array: NDArray[Any]) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _type(array: NDArray[Any]) -> str:
    return f"DT_{contract_dtype(array).upper()}"
