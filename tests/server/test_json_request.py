import re

import numpy as np
import pytest

from atrank_tf.server.errors import ServingError
from atrank_tf.server.json_request import Format, read_request, read_tensors


def read(body, **inputs):
    return read_tensors(read_request(body), inputs)


@pytest.mark.contract("predict_json")
def test_contract(case):
    expected = case["expected"]
    inputs = {name: dtype.removeprefix("DT_").lower() for name, dtype in case["signature"]["inputs"].items()}
    body = case["request"]["body"].encode()
    if expected["status"] != "OK":
        with pytest.raises(ServingError, match=f"^{re.escape(expected['error_message'])}$") as caught:
            read(body, **inputs)
        assert (caught.value.code.name, caught.value.code.http_status) == (expected["status"], expected["http_status"])
        return
    request = read_request(body)
    form, tensors = read_tensors(request, inputs)
    assert form.value == expected["format"]
    assert request.signature_name == expected.get("signature_name", "serving_default")
    assert tensors.keys() == expected["tensors"].keys()
    for name, tensor in expected["tensors"].items():
        assert list(tensors[name].shape) == tensor["shape"]
        flat = tensors[name].reshape(-1)
        if inputs[name] == "string":
            assert flat.tolist() == [text.encode() for text in tensor["values"]]
        elif inputs[name] in ("float", "double"):
            dtype = {"float": np.float32, "double": np.float64}[inputs[name]]
            assert flat.dtype == dtype
            np.testing.assert_array_equal(flat, np.array([float(value) for value in tensor["values"]], dtype))
        else:
            assert flat.dtype == inputs[name]
            assert flat.tolist() == tensor["values"]


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
        read(body, **inputs)


def test_a_base64_string_is_a_value_in_both_forms():
    assert read(b'{"instances": [{"b64": "YQ=="}, "b"]}', s="string")[1]["s"].tolist() == [b"a", b"b"]
    assert read(b'{"inputs": {"b64": "YQ=="}}', s="string") == (Format.COLUMNAR, {"s": np.array(b"a", object)})


def test_a_request_of_one_user_needs_no_padding():
    form, tensors = read(
        b'{"instances": [{"click": [11, 12], "buy": [], "now": 5}]}', click="int64", buy="int64", now="int64"
    )
    assert form is Format.ROW
    assert {name: array.shape for name, array in tensors.items()} == {"click": (1, 2), "buy": (1, 0), "now": (1,)}
