import re
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.json_examples import read_examples
from atrank_tf.server.json_request import read_request


def read(body):
    return [features(example) for example in read_examples(read_request(body))]


def features(serialized):
    """Feature -> list kind and values, as the contract's cases write them."""
    found = {}
    for name, feature in tf.train.Example.FromString(serialized).features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = [kind, *getattr(feature, kind).value] if kind else []
    return found


def plain(expected):
    [kind, *values] = expected
    if kind == "bytes_list":
        return [kind, *(value.encode() for value in values)]
    return [kind, *(float(value) if kind == "float_list" else value for value in values)]


@pytest.mark.contract("classify_json")
def test_contract_of_classify(case):
    check(case)


@pytest.mark.contract("regress_json")
def test_contract_of_regress(case):
    check(case)


def check(case):
    expected, body = case["expected"], case["request"]["body"].encode()
    if expected["status"] != "OK":
        with pytest.raises(ServingError, match=f"^{re.escape(expected['error_message'])}$") as caught:
            read(body)
        assert caught.value.code is Code.INVALID_ARGUMENT
        return
    assert read_request(body).signature_name == expected.get("signature_name", "serving_default")
    context = expected.get("context", {})
    found = read(body)
    assert len(found) == len(expected["examples"])
    for example, own in zip(found, expected["examples"], strict=True):
        wanted = {name: plain(values) for name, values in (context | own).items()}
        assert example.keys() == wanted.keys()
        for name, values in wanted.items():
            np.testing.assert_array_equal(example[name], values)


def test_a_feature_of_an_example_replaces_that_of_the_context():
    assert read(b'{"context": {"a": [1, 2], "b": "x"}, "examples": [{"a": 3}, {}]}') == [
        {"a": ["int64_list", 3], "b": ["bytes_list", b"x"]},
        {"a": ["int64_list", 1, 2], "b": ["bytes_list", b"x"]},
    ]


def test_examples_may_differ_in_features_and_lengths():
    assert read(b'{"examples": [{"a": [], "b": [1.5]}, {"a": ["x", "y"]}]}') == [
        {"a": [], "b": ["float_list", 1.5]},
        {"a": ["bytes_list", b"x", b"y"]},
    ]


def test_integers_end_at_int64_and_larger_ones_are_decimals():
    assert read(b'{"examples": [{"a": [9223372036854775807, -9223372036854775808]}]}') == [
        {"a": ["int64_list", 2**63 - 1, -(2**63)]}
    ]
    assert read(b'{"examples": [{"a": [18446744073709551616, -9223372036854775809]}]}') == [
        {"a": ["float_list", 2.0**64, -(2.0**63)]}
    ]


def test_a_decimal_above_the_largest_float_is_infinity():
    assert read(b'{"examples": [{"a": [1e308, -1e308]}]}') == [{"a": ["float_list", np.inf, -np.inf]}]


def test_the_context_of_all_examples_together_is_no_longer_than_a_body():
    request = read_request(b'{"context": {"a": "xyz"}, "examples": [{}, {"b": 1}, {}]}')
    length = len(read_examples(request)[0])
    assert len(read_examples(request, max_bytes=3 * length)) == 3
    message = (
        f"Expected a context of at most {3 * length - 1} bytes in all examples together. Received: {length} bytes for"
    )
    with pytest.raises(ServingError, match=f"^{message} each of 3 examples") as caught:
        read_examples(request, max_bytes=3 * length - 1)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_context_that_is_too_long_is_refused_before_it_takes_memory():
    request = read_request(b'{"context": {"a": "' + b"x" * 100_000 + b'"}, "examples": [{}' + b", {}" * 999 + b"]}")
    tracemalloc.start()
    with pytest.raises(ServingError, match="bytes for each of 1000 examples"):
        read_examples(request)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"examples": [{"a": null}]}', "Feature: a has element with unexpected JSON type: Null"),
        (b'{"examples": [{"a": [1, null]}]}', "Feature: a has element with unexpected JSON type: Null"),
        (b'{"examples": [{"a": {}}]}', "Feature: a has element with unexpected JSON type: Object"),
        (b'{"examples": [{"a": ["x", 1]}]}', "Unexpected element type in feature: a expecting type: bytes"),
        (b'{"examples": [{"a": [1, {"b64": "eA=="}]}]}', "Unexpected element type in feature: a expecting type: int64"),
        (b'{"examples": [{"a": {"b64": "-_-_"}}]}', "Unable to base64 decode"),
        (b'{"examples": [{"a": 9223372036854775808}]}', "Feature: a has uint64 element. Only int64 is supported."),
        (b'{"examples": [{"a": 1' + b"0" * 400 + b"}]}", "JSON Parse error: Number too big to be stored in double."),
        (b'{"examples": [5]}', "Example must be JSON object but got JSON Number"),
        (b'{"context": "x", "examples": [{}]}', "Example must be JSON object but got JSON String"),
        (b'{"examples": [{"\xff": 1}]}', "Feature name '\\udcff' is not UTF-8."),
        (b'{"examples": [{"a": "\\ud800"}]}', "JSON Parse error: The surrogate pair in string is invalid."),
        (b'{"context": 5}', "Example must be JSON object but got JSON Number"),
    ],
)
def test_errors(body, message):
    with pytest.raises(ServingError, match=f"^{re.escape(message)}$"):
        read(body)
