"""JSON of a predict request -> tensors, with the rules and the error texts of the REST contract.

A request has a row form (`instances`) or a columnar form (`inputs`). Lists must be rectangular and every value must be
of the tensor's dtype: `1.0` is no integer, `1` is a float. Shapes are not compared with the signature: the graph
decides. One difference from TensorFlow Serving on purpose: an integer outside the range of int8, int16, uint8 or uint16
is refused, where it wraps around there.
"""

import base64
import enum
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, invalid, shown
from atrank_tf.server.json_request import Request, debug_string, encode_text, encode_texts, format_error, type_name

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_DECIMALS = {"float": np.float32, "double": np.float64}
_LIMITS = {name: (int(np.iinfo(name).min), int(np.iinfo(name).max)) for name in _INTEGERS}

# Types that a Python list may hold to be taken whole; anything else is looked at value by value.
_LEAF_TYPES: dict[str, frozenset[type]] = {
    **dict.fromkeys(_INTEGERS, frozenset({int})),
    **dict.fromkeys(_DECIMALS, frozenset({int, float})),
    "bool": frozenset({bool}),
    "string": frozenset({str}),
}

# Names of the dtypes that a REST client can send, as `tensorflow::DataTypeString` spells them.
READABLE = frozenset(_LEAF_TYPES)

# NumPy arrays end at 64 dimensions, one of which the row form adds.
_MAX_RANK = 63


class Format(enum.Enum):
    """Form of a predict request: rows or columns. The response has the form of its request."""

    ROW = "row"
    COLUMNAR = "columnar"


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
        raise invalid(f"Failed to get input map for signature: {shown(request.signature_name)}")
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
    raise invalid("Missing 'inputs' or 'instances' key")


class Column:
    """Collects the values of one input, item by item, all of one shape.

    Args:
        dtype: `int64`, `float`, `string`, ... as `tensorflow::DataTypeString` spells it.
    """

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._shape: list[int] | None = None
        self._size = 0
        self._values: list[Any] = []

    def append(self, item: Any) -> None:
        """Adds a parsed JSON value: a number, a string, `{"b64": ...}`, or nested lists of these.

        Raises:
            ServingError: INVALID_ARGUMENT for a ragged list, a value of another type, or a size or shape other than the
                first item's; UNIMPLEMENTED for a dtype that JSON cannot carry. The column is of no use then.
        """
        shape = _dense_shape(item)
        before = len(self._values)
        _flatten(item, 0, shape, self._dtype, self._values)
        size = len(self._values) - before
        if self._shape is None:
            self._shape, self._size = shape, size
        elif size != self._size:
            raise invalid(f"Expecting tensor size: {self._size} but got: {size}")
        elif shape != self._shape:
            raise invalid(f"Expecting shape {_shape_text(self._shape)} but got: {_shape_text(shape)}")

    def array(self, *leading: int) -> NDArray[Any]:
        """Returns the tensor, of shape `[*leading, *shape of an item]`; strings as an object array of bytes.

        Raises:
            ServingError: INVALID_ARGUMENT for an integer too big for a double in a tensor of decimals.
        """
        shape = (*leading, *(self._shape or ()))
        if self._dtype == "string":
            strings = np.empty(len(self._values), dtype=object)
            strings[:] = self._values
            return strings.reshape(shape)
        if self._dtype in _DECIMALS:
            try:
                doubles = np.array(self._values, dtype=np.float64)
            except OverflowError:
                raise invalid("JSON Parse error: Number too big to be stored in double.") from None
            # A double above the largest float is Infinity by contract, so NumPy's warning about it is no news.
            with np.errstate(over="ignore"):
                return doubles.astype(_DECIMALS[self._dtype]).reshape(shape)
        # Only an empty list gets here with a dtype that JSON cannot carry: no value was there to refuse.
        dtype = self._dtype if self._dtype in READABLE else "float32"
        return np.array(self._values, dtype=dtype).reshape(shape)


def _read_rows(instances: list[Any], inputs: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    first = instances[0]
    names_given = _is_object(first)
    if not names_given and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    columns = {name: Column(dtype) for name, dtype in inputs.items()}
    only = next(iter(columns.values()))
    for index, item in enumerate(instances):
        if _is_object(item) != names_given:
            wanted, got = ("object", "list") if names_given else ("value/list", "object")
            raise invalid(f"Expecting {wanted} but got {got} at item {index} of input list")
        if not names_given:
            try:
                only.append(item)
            except ServingError as error:
                raise _item_error(f"{index}", error) from None
            continue
        for name, value in item.items():
            try:
                if name not in columns:
                    raise invalid(f"JSON object: does not have named input: {shown(name)}")
                columns[name].append(value)
            except ServingError as error:
                raise _item_error(f"{index} key: {shown(name)}", error) from None
        if len(item) != len(columns):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {debug_string(item)} keys must "
                f"be equal to: {','.join(sorted(columns))}"
            )
    return {name: column.array(len(instances)) for name, column in columns.items()}


def _read_columns(value: Any, inputs: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    if not _is_object(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = dict.fromkeys(inputs, value)
    tensors = {}
    for name, dtype in inputs.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        column = Column(dtype)
        column.append(value[name])
        tensors[name] = column.array()
    return tensors


def _is_object(value: Any) -> bool:
    """Whether a value names inputs: `{"b64": "..."}` is a string, not an object of inputs."""
    return isinstance(value, dict) and not is_base64(value)


def _item_error(where: str, error: ServingError) -> ServingError:
    return invalid(f"Failed to process element: {where} of 'instances' list. Error: {error.code.name}: {error.message}")


def _dense_shape(value: Any) -> list[int]:
    """Shape of nested lists, if they are rectangular: the way down through first elements."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > _MAX_RANK:
            raise invalid(f"Lists are nested more than {_MAX_RANK} deep")
        if not value:
            break
        value = value[0]
    return shape


def _flatten(value: Any, level: int, shape: list[int], dtype: str, out: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {debug_string(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                f"level: {len(shape)}"
            )
        out.append(_convert(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    if level == len(shape) - 1 and value and _all_fit(value, dtype):
        out.extend(encode_texts(value) if dtype == "string" else value)
        return
    for item in value:
        _flatten(item, level + 1, shape, dtype, out)


def _all_fit(values: list[Any], dtype: str) -> bool:
    if not _LEAF_TYPES.get(dtype, frozenset()).issuperset(map(type, values)):
        return False
    if dtype not in _LIMITS:
        return True
    low, high = _LIMITS[dtype]
    return bool(low <= min(values) and max(values) <= high)


def _convert(value: Any, dtype: str) -> Any:
    if dtype == "string" and isinstance(value, dict):
        return decode_base64(value)
    if dtype not in READABLE and not isinstance(value, dict):
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {debug_string(value)} to type: {dtype}")
    if not _all_fit([value], dtype):
        raise invalid(f"JSON Value: {debug_string(value)} Type: {type_name(value)} is not of expected type: {dtype}")
    return encode_text(value) if dtype == "string" else value


def decode_base64(value: dict[str, Any]) -> bytes:
    """Returns the bytes of `{"b64": "<text>"}`; padding is optional.

    Raises:
        ServingError: INVALID_ARGUMENT for another object, or a text that is not in the standard alphabet.
    """
    if not is_base64(value):
        raise format_error(value, "not formatted correctly for base64 data")
    text = value["b64"].rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise invalid("Unable to base64 decode") from None


def is_base64(value: dict[str, Any]) -> bool:
    """Returns whether a JSON object is a string in base64: exactly `{"b64": "<text>"}`."""
    return len(value) == 1 and isinstance(value.get("b64"), str)


def _shape_text(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
