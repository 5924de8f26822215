"""Tensors -> JSON of a predict response, number for number as TensorFlow Serving writes it.

Only the blanks between tokens differ: one row of numbers is one line here too, but nothing is indented.
"""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.json_request import Format

_CONTRACT_NAMES = {"float16": "half", "float32": "float", "float64": "double", "object": "string"}

# dtype -> digits that are tried first, and digits that always give the number back.
_DIGITS = {"float": (6, 9), "double": (15, 17)}

# Names of the dtypes that a REST client can be sent, as `tensorflow::DataTypeString` spells them.
WRITABLE = frozenset(
    {"bool", "string", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", *_DIGITS}
)


def write_predict_response(outputs: Mapping[str, NDArray[Any]], form: Format) -> bytes:
    """Writes the body of a predict response.

    Args:
      outputs: name -> array of any shape. Strings are object arrays of bytes or str; those of an output whose name
        ends in `_bytes` are written as `{"b64": ...}`.
      form: of the request. ROW gives `{"predictions": [...]}`, for which all outputs need the same 0-th dimension;
        COLUMNAR gives `{"outputs": ...}`.

    Returns:
      UTF-8 bytes. NaN, Infinity and -Infinity are bare tokens, so this is not always strict JSON.

    Raises:
      ServingError: INVALID_ARGUMENT for no outputs, a dtype that JSON cannot carry (half, bfloat16, complex), and in
        row form for an output without dimensions or with another 0-th dimension than the first.
    """
    if not outputs:
        raise ServingError(Code.INVALID_ARGUMENT, "Cannot convert empty tensor map to JSON")
    if form is Format.ROW:
        text = f'{{"predictions": [{", ".join(_rows(outputs))}]}}'
    else:
        columns = {name: _nest(_tokens(name, array), array.shape, 0)[0] for name, array in outputs.items()}
        text = f'{{"outputs": {next(iter(columns.values())) if len(columns) == 1 else _object(columns)}}}'
    return text.encode("utf-8", "surrogateescape")


def _rows(outputs: Mapping[str, NDArray[Any]]) -> list[str]:
    batch = None
    for name, array in outputs.items():
        if not array.shape:
            raise ServingError(Code.INVALID_ARGUMENT, f"Tensor name: {name} has no shape information ")
        batch = array.shape[0] if batch is None else batch
        if array.shape[0] != batch:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {batch}",
            )
    columns = {name: _nest(_tokens(name, array), array.shape, 1) for name, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [_object(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _nest(tokens: list[str], shape: tuple[int, ...], outer: int) -> list[str]:
    """Joins the tokens of a tensor to one text for each element of its first `outer` dimensions."""
    for axis in range(len(shape) - 1, outer - 1, -1):
        width = shape[axis]
        tokens = [f"[{', '.join(tokens[i * width : (i + 1) * width])}]" for i in range(math.prod(shape[:axis]))]
    return tokens


def _tokens(name: str, array: NDArray[Any]) -> list[str]:
    dtype = "string" if array.dtype.kind in "SU" else _CONTRACT_NAMES.get(array.dtype.name, array.dtype.name)
    if dtype not in WRITABLE:
        raise ServingError(Code.INVALID_ARGUMENT, f"Failed to write JSON value for tensor type: {dtype}")
    flat = array.reshape(-1)
    if dtype in _DIGITS:
        return _decimals(flat, *_DIGITS[dtype])
    values = flat.tolist()
    if dtype == "bool":
        return ["true" if value else "false" for value in values]
    if dtype == "string":
        return [_string(value, name.endswith("_bytes")) for value in values]
    return [str(value) for value in values]


def _decimals(flat: NDArray[Any], short: int, full: int) -> list[str]:
    values = flat.tolist()
    tokens = [f"{value:.{short}g}" for value in values]
    # Rounding up the short form of the largest numbers may overflow: it does not round-trip, and that is the answer.
    with np.errstate(over="ignore"):
        read_back = np.array([float(token) for token in tokens], dtype=np.float64).astype(flat.dtype)
    for index in np.flatnonzero(read_back != flat).tolist():
        value = values[index]
        if math.isfinite(value):
            tokens[index] = f"{value:.{full}g}"
    return [_finish(token) for token in tokens]


def _finish(token: str) -> str:
    if token.endswith(("inf", "nan")):
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(token, "NaN")
    # A list of whole numbers must not read back as integers.
    return token if "." in token or "e" in token else f"{token}.0"


def _string(value: bytes | str, as_base64: bool) -> str:
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if as_base64:
        return f'{{"b64": "{base64.b64encode(data).decode("ascii")}"}}'
    # A string that is not UTF-8 is sent as it is, as TensorFlow Serving does: `_bytes` is the form for those.
    return json.dumps(data.decode("utf-8", "surrogateescape"), ensure_ascii=False)


def _object(members: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {text}" for name, text in members.items()) + "}"
