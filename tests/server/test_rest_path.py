import dataclasses

import pytest

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.rest_path import RestPath, parse_path


@pytest.mark.contract("url")
def test_contract(case):
    method, path, expected = case["request"]["method"], case["request"]["path"], case["expected"]
    if "model" in expected:
        parsed = dataclasses.asdict(parse_path(method, path))
        assert {name: value for name, value in parsed.items() if value not in (None, "")} == expected
        return
    with pytest.raises(ServingError, match="request") as caught:
        parse_path(method, path)
    assert caught.value.message == expected["body_json"]["error"]
    assert caught.value.code.http_status == expected["http_status"]


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


def test_names_are_decoded_after_the_match():
    assert parse_path("POST", "/v1/models/a%3Ab/labels/c%2Fd:predict") == RestPath("a:b", label="c/d", method="predict")
