"""Classify and regress: which signatures these methods can call, and what they take from the outputs.

As in TensorFlow Serving since 2.15 the `method_name` of a signature is not looked at, only its inputs and outputs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, shown
from atrank_tf.server.json_tokens import contract_dtype
from atrank_tf.server.loader import LoadedModel


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
        raise _invalid(f"Expected one or two output Tensors, found {len(proto.outputs)}")
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
        raise _invalid(f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}")
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
        raise _invalid("Expected one output Tensor.")
    if "outputs" not in proto.outputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {proto}")
    values = model.run(signature_name, {"inputs": examples})["outputs"]
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        raise _invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(values)}"
        )
    if len(values) != len(examples):
        raise _invalid(f"Input batch size did not match output batch size: {len(examples)} vs. {len(values)}")
    if contract_dtype(values) != "float":
        raise _invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type(values)}")
    return values.reshape(-1)


def _signature(model: LoadedModel, name: str, kind: str) -> Any:
    if name not in model.signature_defs:
        raise _invalid(f"No signature was found with the name: {shown(name)}")
    proto = model.signature_defs[name]
    if len(proto.inputs) != 1:
        raise _invalid("Expected one input Tensor.")
    if "inputs" not in proto.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No {kind} inputs found in SignatureDef: {proto}")
    return proto


def _check_output(name: str, array: NDArray[Any], dtype: str, num_examples: int) -> None:
    if array.ndim != 2:
        raise _invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if contract_dtype(array) != dtype:
        raise _invalid(f"Expected {name} Tensor of DT_{dtype.upper()}. Got: {_type(array)}")
    if len(array) != num_examples:
        raise _invalid(f"Expected {name} output batch size of {num_examples}. Got: {len(array)}")


def _shape(array: NDArray[Any]) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _type(array: NDArray[Any]) -> str:
    return f"DT_{contract_dtype(array).upper()}"


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
