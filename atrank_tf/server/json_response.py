"""Outputs of a signature -> JSON of a response, in TensorFlow Serving's forms.

Only the blanks between tokens differ: one row of numbers is one line here too, but nothing is indented.
"""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, invalid
from atrank_tf.server.json_tensors import Format

_CONTRACT_NAMES = {"float16": "half", "float32": "float", "float64": "double", "object": "string"}

# dtype -> digits that are tried first, and digits that always give the number back.
_DIGITS = {"float": (6, 9), "double": (15, 17)}

# Numbers that one call formats: other threads wait while it runs, some milliseconds.
_AT_ONCE = 10_000

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
        raise invalid("Cannot convert empty tensor map to JSON")
    if form is Format.ROW:
        text = f'{{"predictions": [{", ".join(_rows(outputs))}]}}'
    else:
        columns = {name: _nest(_tokens(name, array), array.shape, 0)[0] for name, array in outputs.items()}
        text = f'{{"outputs": {next(iter(columns.values())) if len(columns) == 1 else _object(columns)}}}'
    return text.encode("utf-8", "surrogateescape")


def write_classifications(labels: NDArray[Any], scores: NDArray[Any]) -> bytes:
    """Writes the body of a classify response.

    Args:
        labels: object array of bytes [N, K].
        scores: float32 [N, K].

    Returns:
        `{"results": [[["<label>", <score>], ...], ...]}`, UTF-8.

    Raises:
        ServingError: INVALID_ARGUMENT where N is 0.
    """
    if not scores.shape[0]:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    pairs = [f"[{label}, {score}]" for label, score in zip(tokens(labels), tokens(scores), strict=True)]
    return f'{{"results": {_nest(pairs, scores.shape, 0)[0]}}}'.encode("utf-8", "surrogateescape")


def write_regressions(values: NDArray[Any]) -> bytes:
    """Writes the body of a regress response.

    Args:
        values: float32 [N].

    Returns:
        `{"results": [<value>, ...]}`, UTF-8.

    Raises:
        ServingError: INVALID_ARGUMENT where N is 0.
    """
    if not values.shape[0]:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return f'{{"results": [{", ".join(tokens(values))}]}}'.encode()


def _rows(outputs: Mapping[str, NDArray[Any]]) -> list[str]:
    batch = None
    for name, array in outputs.items():
        if not array.shape:
            raise invalid(f"Tensor name: {name} has no shape information ")
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
    return tokens(array, as_base64=name.endswith("_bytes"))


def _object(members: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {text}" for name, text in members.items()) + "}"


def tokens(array: NDArray[Any], *, as_base64: bool = False) -> list[str]:
    """Returns one JSON token for each element of a tensor, in row-major order.

    Args:
        array: of any shape. Strings are object arrays of bytes or str.
        as_base64: strings become `{"b64": ...}`. Defaults to False.

    Raises:
        ServingError: INVALID_ARGUMENT for a dtype that JSON cannot carry (half, bfloat16, complex).
    """
    dtype = contract_dtype(array)
    if dtype not in WRITABLE:
        raise invalid(f"Failed to write JSON value for tensor type: {dtype}")
    flat = array.reshape(-1)
    if dtype in _DIGITS:
        parts = (flat[start : start + _AT_ONCE] for start in range(0, flat.size, _AT_ONCE))
        return [token for part in parts for token in _decimals(part, *_DIGITS[dtype])]
    values = flat.tolist()
    if dtype == "bool":
        return ["true" if value else "false" for value in values]
    if dtype == "string":
        return [_string(value, as_base64) for value in values]
    return [str(value) for value in values]


def contract_dtype(array: NDArray[Any]) -> str:
    """Returns the name of an array's dtype as `tensorflow::DataTypeString` spells it: `float`, `string`, ..."""
    return "string" if array.dtype.kind in "SU" else _CONTRACT_NAMES.get(array.dtype.name, array.dtype.name)


def _decimals(flat: NDArray[Any], short: int, full: int) -> list[str]:
    found = np.empty(flat.size, dtype=object)
    is_short = _may_be_short(flat, short)
    tried = _formatted(flat[is_short], short)
    # Rounding up the short form of the largest numbers may overflow: it does not round-trip, and that is the answer.
    with np.errstate(over="ignore"):
        read_back = np.array([float(token) for token in tried], dtype=np.float64).astype(flat.dtype)
    found[is_short] = tried
    is_short[is_short] = (read_back == flat[is_short]) | ~np.isfinite(flat[is_short])
    found[~is_short] = _formatted(flat[~is_short], full)
    return [_finish(token) for token in found.tolist()]


def _may_be_short(flat: NDArray[Any], digits: int) -> NDArray[np.bool_]:
    """False for numbers that surely need more digits; most scores do, and trying takes as long as writing them."""
    if flat.dtype != np.float32:
        return np.ones(flat.shape, dtype=bool)
    magnitude = np.abs(flat.astype(np.float64))
    with np.errstate(all="ignore"):  # 0, NaN and Infinity: the comparison is False, so they are tried
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(magnitude)))
        error = np.abs(np.rint(magnitude * scale) / scale - magnitude)
        far: NDArray[np.bool_] = error > np.spacing(np.abs(flat))
    return ~far


def _formatted(flat: NDArray[Any], digits: int) -> list[str]:
    # One format for all is a third faster than one for each.
    return (f"%.{digits}g " * flat.size % tuple(flat.tolist())).split()


def _finish(token: str) -> str:
    # A list of whole numbers must not read back as integers.
    if "." in token or "e" in token:
        return token
    return _NON_FINITE.get(token) or f"{token}.0"


_NON_FINITE = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def _string(value: bytes | str, as_base64: bool) -> str:
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if as_base64:
        return f'{{"b64": "{base64.b64encode(data).decode("ascii")}"}}'
    # A string that is not UTF-8 is sent as it is, as TensorFlow Serving does: `_bytes` is the form for those.
    return json.dumps(data.decode("utf-8", "surrogateescape"), ensure_ascii=False)
