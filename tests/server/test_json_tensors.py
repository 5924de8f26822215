import numpy as np
import pytest

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.json_request import read_request
from atrank_tf.server.json_tensors import READABLE, Column, Format, read_tensors


def read(value, dtype):
    column = Column(dtype)
    column.append(value)
    return column.array()


@pytest.mark.parametrize("dtype", sorted(READABLE - {"string", "bool", "float", "double"}))
def test_integers_end_at_the_limits_of_their_dtype(dtype):
    limits = np.iinfo(dtype)
    array = read([limits.min, limits.max], dtype)
    assert array.dtype == dtype
    assert array.tolist() == [limits.min, limits.max]
    for outside in (limits.min - 1, limits.max + 1):
        with pytest.raises(ServingError, match=f"Type: Number is not of expected type: {dtype}"):
            read([0, outside], dtype)


@pytest.mark.parametrize("value", [1.0, True, None, "1", {"b64": "MQ=="}])
def test_only_integer_literals_are_integers(value):
    with pytest.raises(ServingError, match="is not of expected type: int64"):
        read([1, value], "int64")


@pytest.mark.parametrize("value", [True, None, "1", {}])
def test_decimals_take_numbers_only(value):
    with pytest.raises(ServingError, match="is not of expected type: float"):
        read(value, "float")


def test_floats_overflow_to_infinity_and_round_silently():
    assert read([1e308, -1e308, 16777217, 10**30], "float").tolist() == [np.inf, -np.inf, 16777216.0, np.float32(1e30)]
    assert read([0.1], "double").tolist() == [0.1]


def test_an_integer_too_big_for_a_double_is_refused():
    with pytest.raises(ServingError, match="Number too big to be stored in double"):
        read([10**400], "double")


def test_strings_are_object_arrays_of_bytes_whatever_they_hold():
    array = read([["a", {"b64": "AAE"}], ["é\0", ""]], "string")
    assert array.dtype == object
    assert array.tolist() == [[b"a", b"\0\1"], ["é\0".encode(), b""]]
    assert read("alone", "string").shape == ()


@pytest.mark.parametrize("text", ["-_-_", "é", "a b=", "A"])
def test_base64_must_be_of_the_standard_alphabet(text):
    with pytest.raises(ServingError, match="Unable to base64 decode"):
        read({"b64": text}, "string")


def test_an_object_in_a_string_list_must_be_base64():
    with pytest.raises(ServingError, match="not formatted correctly for base64 data"):
        read([{"b64": 5}], "string")


def test_empty_lists_keep_their_shape_and_dtype():
    for value, shape in [([], (0,)), ([[]], (1, 0)), ([[], []], (2, 0))]:
        for dtype, expected in [("int64", np.int64), ("float", np.float32), ("string", object), ("half", np.float32)]:
            array = read(value, dtype)
            assert array.shape == shape
            assert array.dtype == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2], [3]], "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ([[1], [[2]]], "Encountered list at unexpected level: 2 expected < 2"),
        ([1, [2]], "Encountered list at unexpected level: 1 expected < 1"),
        ([[1], 2], "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ],
)
def test_ragged_lists_are_refused(value, message):
    with pytest.raises(ServingError, match="level") as caught:
        read(value, "int64")
    assert caught.value.message == message


def test_deep_nesting_is_refused_before_numpy_meets_it():
    value = 1
    for _ in range(63):
        value = [value]
    assert read(value, "int64").ndim == 63
    with pytest.raises(ServingError, match="nested more than 63 deep"):
        read([value], "int64")


def test_items_of_a_column_have_one_size_and_shape():
    column = Column("int64")
    column.append([1, 2])
    with pytest.raises(ServingError, match="Expecting tensor size: 2 but got: 3"):
        column.append([1, 2, 3])
    column = Column("int64")
    column.append([1, 2])
    with pytest.raises(ServingError, match=r"Expecting shape \[2\] but got: \[1,2\]"):
        column.append([[1, 2]])


def test_items_are_stacked():
    column = Column("int64")
    for item in ([1, 2, 3], [4, 5, 6]):
        column.append(item)
    assert column.array(2).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "complex64"])
def test_dtypes_that_json_cannot_carry(dtype):
    with pytest.raises(ServingError, match=f"Conversion of JSON Value: 1.0 to type: {dtype}") as caught:
        read([1.0], dtype)
    assert caught.value.code is Code.UNIMPLEMENTED


def read_body(body, **inputs):
    return read_tensors(read_request(body), inputs)


def test_empty_signature_name_is_the_default():
    assert read_request(b'{"signature_name": ""}').signature_name == "serving_default"
    assert read_request(b"{}").signature_name == "serving_default"


@pytest.mark.parametrize(
    ("body", "inputs", "message"),
    [
        (b"{}", {"x": "int64"}, "^Missing 'inputs' or 'instances' key$"),
        (b'{"inputs": 1}', {}, "^Failed to get input map for signature: serving_default$"),
        (b'{"inputs": [1]}', {"x": "int64", "y": "int64"}, "^inputs is a plain value/list, but expecting an object"),
        (
            b'{"instances": [1, {"x": 1}]}',
            {"x": "int64"},
            "^Expecting value/list but got object at item 1 of input list$",
        ),
        (b'{"instances": [{"b64": "YQ=="}]}', {"s": "string", "t": "string"}, "^instances is a plain list, but"),
        (b'{"instances": [{"x": 1}]}', {"y": "int64"}, "key: x of 'instances' list. .* does not have named input: x$"),
        (b'{"instances": [{"x": 1}]}', {"y": "int64", "x": "int64"}, "keys must be equal to: x,y$"),
        (b'{"inputs": {"x": 1}}', {"x": "int64", "y": "int64"}, "^Missing named input: y in 'inputs' object.$"),
        (b'{"signature_name": 1}', {"x": "int64"}, "'signature_name' key must be a string value.$"),
    ],
)
def test_errors(body, inputs, message):
    with pytest.raises(ServingError, match=message):
        read_body(body, **inputs)


def test_a_base64_string_is_a_value_in_both_forms():
    assert read_body(b'{"instances": [{"b64": "YQ=="}, "b"]}', s="string")[1]["s"].tolist() == [b"a", b"b"]
    assert read_body(b'{"inputs": {"b64": "YQ=="}}', s="string") == (Format.COLUMNAR, {"s": np.array(b"a", object)})


def test_a_request_of_one_user_needs_no_padding():
    form, tensors = read_body(
        b'{"instances": [{"click": [11, 12], "buy": [], "now": 5}]}', click="int64", buy="int64", now="int64"
    )
    assert form is Format.ROW
    assert {name: array.shape for name, array in tensors.items()} == {"click": (1, 2), "buy": (1, 0), "now": (1,)}
