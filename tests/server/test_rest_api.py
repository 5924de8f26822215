import json
import time

import pytest
from fake_models import FakeScorer, served_with

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.limits import LimitedInputs
from atrank_tf.server.rest_api import RestApi, RestPath, parse_path
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.settings import ServerSettings


@pytest.fixture(scope="module")
def api(typed_model):
    model = ServedModel("typed", typed_model.rsplit("/", 1)[0])
    model.start()
    yield RestApi(model)
    model.close()


def predict(api, request, path="/v1/models/typed:predict"):
    response = api.answer("POST", path, json.dumps(request).encode())
    return response.status, json.loads(response.body)


def test_strings_and_integers_in_both_forms(api):
    rows = [{"word": "a", "offset": 10}, {"word": {"b64": "Yg=="}, "offset": -1}]
    answer = [{"number": 11, "word_bytes": {"b64": "YQ=="}}, {"number": 1, "word_bytes": {"b64": "Yg=="}}]
    assert predict(api, {"instances": rows}) == (200, {"predictions": answer})
    columns = {"word": ["a", "b"], "offset": [10, -1]}
    answer = {"number": [11, 1], "word_bytes": [{"b64": "YQ=="}, {"b64": "Yg=="}]}
    assert predict(api, {"inputs": columns}) == (200, {"outputs": answer})


def test_signature_and_version(api):
    request = {"signature_name": "multiply", "instances": [[1, 2]]}
    assert predict(api, request, "/v1/models/typed/versions/1:predict") == (200, {"predictions": [[7.0, 10.0]]})


@pytest.mark.parametrize(
    ("path", "request_body", "status", "message"),
    [
        ("typed:predict", {"signature_name": "x", "instances": [1]}, 400, 'Serving signature name: "x" not found'),
        ("typed:predict", {"signature_name": "multiply", "instances": [[1, 2, 3]]}, 400, "Matrix size-incompatible"),
        ("typed:predict", {"signature_name": "multiply", "instances": [1]}, 400, "ndims"),
        ("typed:predict", {"signature_name": "ragged", "instances": [[1, 2]]}, 400, "not dense tensors"),
        ("typed:predict", {"inputs": {"word": ["a"], "offset": [1.5]}}, 400, "is not of expected type: int64"),
        ("typed:predict", {"inputs": {"word": ["a", "b"], "offset": [1, 2, 3]}}, 400, "Incompatible shapes"),
        ("other:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(other)"),
        ("typed/versions/2:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(typed, 2)"),
        ("typed:classify", {"examples": [{}]}, 400, "Expected one input Tensor."),
        ("typed:regress", {"signature_name": "multiply", "examples": [{}]}, 400, "No regression inputs found"),
        ("other:classify", {"examples": [{}]}, 404, "Servable not found for request: Latest(other)"),
        ("other:classify", {"examples": []}, 400, "'examples' value is an empty array"),
        ("other/labels/a:predict", {"instances": [1]}, 400, "Unrecognized servable version label: a"),
    ],
)
def test_errors(api, path, request_body, status, message):
    got, body = predict(api, request_body, f"/v1/models/{path}")
    assert got == status
    assert body.keys() == {"error"}
    assert message in body["error"]


def test_status_of_versions_and_models_that_are_not_there(api):
    for path, message in [
        ("foo", "Could not find any versions of model foo"),
        ("typed/versions/7", "Could not find version 7 of model typed"),
    ]:
        response = api.answer("GET", f"/v1/models/{path}", b"")
        assert (response.status, json.loads(response.body)) == (404, {"error": message})


def test_a_status_by_label_lists_all_versions(api):
    response = api.answer("GET", "/v1/models/typed/labels/any", b"")
    assert [status["version"] for status in json.loads(response.body)["model_version_status"]] == ["1"]


def test_metadata(api):
    response = api.answer("GET", "/v1/models/typed/metadata", b"")
    assert response.status == 200
    body = json.loads(response.body)
    assert body["model_spec"] == {"name": "typed", "signature_name": "", "version": "1"}
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "multiply", "ragged", "__saved_model_init_op"}
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["defaults"] == {}
    assert default["inputs"]["word"] == {
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": "serving_default_word:0",
    }
    init = signatures["__saved_model_init_op"]["outputs"]["__saved_model_init_op"]
    assert (init["dtype"], init["name"]) == ("DT_INVALID", "NoOp")


@pytest.mark.parametrize("path", ["foo/metadata", "typed/versions/7/metadata"])
def test_metadata_of_models_that_are_not_there(api, path):
    response = api.answer("GET", f"/v1/models/{path}", b"")
    assert response.status == 404
    assert "Servable not found for request" in json.loads(response.body)["error"]


def test_a_bug_is_a_500_that_says_nothing_of_the_code():
    class Buggy(ServedModel):
        def lease(self, version, label):
            raise KeyError("secret")

    response = RestApi(Buggy("m", "")).answer("POST", "/v1/models/m:predict", b'{"instances": [1]}')
    assert (response.status, json.loads(response.body)) == (500, {"error": "Internal error"})


def test_nothing_is_answered_after_its_deadline(api):
    body = b'{"inputs": {"word": ["a"], "offset": [1]}}'
    for deadline, status in ((time.monotonic() - 1, 504), (time.monotonic() + 60, 200)):
        response = api.answer("POST", "/v1/models/typed:predict", body, deadline=deadline)
        assert response.status == status


def test_too_many_candidates_are_refused(tmp_path):
    limited = LimitedInputs(frozenset({"buy__candidates"}))
    served = served_with(tmp_path, [1], load=lambda path: FakeScorer(limited, buy__candidates=("int64", 2)))
    for count, status in ((6, 200), (7, 400)):
        body = json.dumps({"inputs": [list(range(count))]}).encode()
        answer = RestApi(served, ServerSettings(max_candidates=6)).answer("POST", "/v1/models/m:predict", body)
        assert answer.status == status


def test_too_long_a_memory_for_so_many_candidates_is_refused(tmp_path):
    limited = LimitedInputs(frozenset({"buy__candidates"}), frozenset({"memory"}))
    inputs = {"buy__candidates": ("int64", 2), "memory": ("float", 3)}
    served = served_with(tmp_path, [1], load=lambda path: FakeScorer(limited, **inputs))
    for length, status in ((4, 200), (5, 400)):
        body = json.dumps({"inputs": {"buy__candidates": [[1, 2, 3]], "memory": [[[0.5]] * length]}}).encode()
        answer = RestApi(served, ServerSettings(max_memory_reads=12)).answer("POST", "/v1/models/m:predict", body)
        assert answer.status == status, answer.body


@pytest.mark.parametrize(
    ("method", "request_body", "count"),
    [
        ("predict", {"instances": [1, 2, 3]}, 3),
        ("regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 1.5}] * 3}, 3),
        ("classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 1.5}] * 3}, 6),
    ],
)
def test_an_answer_of_too_many_values_is_not_written(half_plus_two, method, request_body, count):
    served = ServedModel("m", half_plus_two)
    served.start()
    path, body = f"/v1/models/m:{method}", json.dumps(request_body).encode()
    assert RestApi(served, ServerSettings(max_output_values=count)).answer("POST", path, body).status == 200
    answer = RestApi(served, ServerSettings(max_output_values=count - 1)).answer("POST", path, body)
    assert answer.status == 400
    message = f"Expected at most {count - 1} values in an answer. Received: {count}, most of them in "
    assert message in json.loads(answer.body)["error"]
    served.close()


def test_the_subresource_is_metadata_in_small_letters(api):
    response = api.answer("GET", "/v1/models/typed/METADATA", b"")
    assert b"model_version_status" in response.body


def test_a_path_that_is_not_utf8_can_be_told(api):
    response = api.answer("GET", "/v1/models/\udcff", b"")
    assert response.status == 404
    assert "Could not find any versions of model" in json.loads(response.body)["error"]


@pytest.mark.parametrize(
    ("code", "status"), [("CANCELLED", 499), ("UNIMPLEMENTED", 501), ("UNAVAILABLE", 503), ("DEADLINE_EXCEEDED", 504)]
)
def test_codes_have_the_contracts_http_status(code, status):
    assert Code[code].http_status == status
    assert all(400 <= member.http_status < 600 for member in Code if member is not Code.OK)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/m:predict?x=1"),
        ("POST", "/v1/models/m:PREDICT"),
        ("POST", "/v1/models/m:explain"),
        ("POST", "/v1/models/m"),
        ("GET", "/v1/models/m/versions/-1"),
        ("GET", "/v1/models/m/"),
        ("DELETE", "/v1/models/m"),
        ("HEAD", "/v1/models/m"),
    ],
)
def test_malformed(method, path):
    with pytest.raises(ServingError, match=r"^Malformed request: ") as caught:
        parse_path(method, path)
    assert caught.value.message == f"Malformed request: {method} {path}"
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_get_without_a_model():
    with pytest.raises(ServingError, match=r"^Missing model name in request\.$"):
        parse_path("GET", "/v1/models")


def test_versions_are_int64():
    assert parse_path("GET", f"/v1/models/m/versions/000{2**63 - 1}") == RestPath("m", version=2**63 - 1)
    for too_big in (str(2**63), "9" * 5000):
        with pytest.raises(ServingError, match="Failed to convert version"):
            parse_path("GET", f"/v1/models/m/versions/{too_big}")


@pytest.mark.parametrize(("digits", "status"), [("0" * 5000 + "1", 200), ("0" * 5000, 404), ("9" * 5000, 400)])
def test_a_version_of_thousands_of_digits_is_a_number_or_none(api, digits, status):
    assert api.answer("GET", f"/v1/models/typed/versions/{digits}", b"").status == status


def test_names_are_decoded_after_the_match():
    assert parse_path("POST", "/v1/models/a%3Ab/labels/c%2Fd:predict") == RestPath("a:b", label="c/d", method="predict")
