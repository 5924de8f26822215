"""The cases of `contract_cases.toml`: what TensorFlow Serving's REST contract says, rule by rule."""

import dataclasses
import gzip
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.server import Code, ServedModel, ServedModels, ServerSettings, ServingError, make_app
from atrank_tf.server.examples import read_examples
from atrank_tf.server.json_request import read_request
from atrank_tf.server.json_response import write_classifications, write_predict_response, write_regressions
from atrank_tf.server.json_tensors import Format, read_tensors
from atrank_tf.server.rest_api import parse_path

CASES = tomllib.loads(Path(__file__).with_name("contract_cases.toml").read_text("utf-8"))


def cases(section):
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["rule"]) for case in CASES[section]])


def refused(case):
    """Expects the error that a case names."""
    text = f"^{re.escape(case['error'])}$" if "error" in case else re.escape(case["error_has"])
    return pytest.raises(ServingError, match=text)


def is_error(case):
    return "error" in case or "error_has" in case


def array(dtype, values):
    if dtype == "object":
        return np.array([value.encode() for value in values], object)
    return np.array(values, tf.dtypes.as_dtype(dtype).as_numpy_dtype)


def without_blanks(body):
    return re.sub(r"\s", "", body)


def test_every_rule_stands_once():
    for section in CASES.values():
        rules = [case["rule"] for case in section]
        assert len(set(rules)) == len(rules)


@cases("code")
def test_a_code(case):
    assert Code[case["name"]].http_status == case["status"]


def test_all_codes_have_a_case():
    assert [code.name for code in Code] == [case["name"] for case in CASES["code"]]


@cases("path")
def test_a_path(case):
    method, path = case["call"].split(" ")
    if not is_error(case):
        found = dataclasses.asdict(parse_path(method, path))
        assert {name: value for name, value in found.items() if value not in (None, "")} == case["means"]
        return
    with refused(case) as caught:
        parse_path(method, path)
    assert caught.value.code is Code.INVALID_ARGUMENT


@cases("predict_request")
def test_a_predict_request(case):
    body, inputs = case["body"].encode(), case["inputs"]
    if is_error(case):
        with refused(case) as caught:
            read_tensors(read_request(body), inputs)
        assert caught.value.code is Code[case.get("code", "INVALID_ARGUMENT")]
        return
    request = read_request(body)
    form, tensors = read_tensors(request, inputs)
    assert form is Format(case["form"])
    assert request.signature_name == case.get("signature_name", "serving_default")
    assert tensors.keys() == case["tensors"].keys()
    for name, tensor in tensors.items():
        dtype = {"string": "object", "float": "float32", "double": "float64"}.get(inputs[name], inputs[name])
        expected = array(dtype, case["tensors"][name]["values"]).reshape(case["tensors"][name]["shape"])
        assert (tensor.dtype, tensor.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(tensor, expected)


@cases("predict_answer")
def test_a_predict_answer(case):
    outputs = {name: array(**output) for name, output in case["outputs"].items()}
    if is_error(case):
        with refused(case) as caught:
            write_predict_response(outputs, Format(case["form"]))
        assert caught.value.code is Code.INVALID_ARGUMENT
        return
    body = write_predict_response(outputs, Format(case["form"])).decode()
    assert without_blanks(body) == without_blanks(case["body"])


@cases("example_request")
def test_an_example_request(case):
    body = case["body"].encode()
    if is_error(case):
        with refused(case) as caught:
            read_examples(read_request(body), max_bytes=1000)
        assert caught.value.code is Code.INVALID_ARGUMENT
        return
    request = read_request(body)
    assert request.signature_name == case.get("signature_name", "serving_default")
    examples = read_examples(request, max_bytes=1000)
    assert len(examples) == len(case["examples"])
    for example, expected in zip(examples, case["examples"], strict=True):
        features = tf.train.Example.FromString(example).features.feature
        assert features.keys() == expected.keys()
        for name, feature in features.items():
            if not expected[name]:
                assert feature.WhichOneof("kind") is None
                continue
            kind, *values = expected[name]
            assert feature.WhichOneof("kind") == f"{kind}_list"
            found = list(getattr(feature, f"{kind}_list").value)
            np.testing.assert_array_equal(found, [v.encode() for v in values] if kind == "bytes" else values)


@cases("example_answer")
def test_an_example_answer(case):
    def write():
        if "values" in case:
            return write_regressions(np.array(case["values"], np.float32))
        shape = (len(case["classes"]), -1) if case["classes"] else (0, 0)
        labels = [label.encode() for row in case["classes"] for label in row]
        return write_classifications(
            np.array(labels, object).reshape(shape), np.array(case["scores"], np.float32).reshape(shape)
        )

    if is_error(case):
        with refused(case) as caught:
            write()
        assert caught.value.code is Code.INVALID_ARGUMENT
        return
    assert without_blanks(write().decode()) == without_blanks(case["body"])


@pytest.fixture(scope="module")
def servers(half_plus_two, typed_model, run_app):
    """Servers of the toy models: one as it is by default, and one with everything switched on."""
    running = {}
    on = {"cors": True, "metrics_path": "/monitoring/prometheus/metrics"}
    for name, settings in (("default", ServerSettings()), ("open", ServerSettings(**on))):
        models = ServedModels([])
        models._models = {
            "half_plus_two": ServedModel("half_plus_two", half_plus_two, labels={"stable": 123}),
            "typed": ServedModel("typed", typed_model.rsplit("/", 1)[0]),
        }
        models.start()
        running[name] = run_app(make_app(models, settings))
    yield running
    for server in running.values():
        server.stop()


@cases("call")
def test_a_call(case, servers):
    method, path = case["call"].split(" ")
    body = gzip.compress(case["gzip"].encode()) if "gzip" in case else case.get("body")
    status, headers, answer = servers[case.get("server", "default")].call(method, path, body, case.get("headers"))
    assert status == case["status"], answer
    assert case.get("answer_headers", {}).items() <= headers.items()
    assert not headers.keys() & set(case.get("no_headers", ()))
    if "answer" in case:
        assert json.loads(answer) == case["answer"]
    elif "error" in case:
        assert json.loads(answer) == {"error": case["error"]}
    elif "error_has" in case:
        found = json.loads(answer)
        assert found.keys() == {"error"} and case["error_has"] in found["error"]
    else:
        assert bool(answer) == bool(case["answer_has"])
        assert all(part in answer.decode() for part in case["answer_has"])


@cases("path")
def test_a_malformed_path_over_http(case, servers):
    if is_error(case):
        method, path = case["call"].split(" ")
        status, headers, answer = servers["default"].call(method, path, "")
        assert (status, json.loads(answer)) == (400, {"error": case["error"]})
        assert headers["Content-Type"] == "application/json"
