"""Bodies that are wrong in every way that a seeded generator thinks of are refused, quickly and without a 500."""

import base64
import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.server import RestApi, ServedModel, ServedModels, ServerSettings, make_app

_SEED = 20261125

_ROWS = {"signature_name": "serving_default", "instances": [{"word": "a", "offset": 1}, {"word": "é", "offset": -2}]}
_COLUMNS = {"inputs": {"word": ["a", {"b64": "Yg=="}], "offset": [1, 2]}}
_MATRIX = {"signature_name": "multiply", "instances": [[1.5, 2], [3, 4]]}
_REGRESS = {"signature_name": "regress_x_to_y", "context": {"z": ["u"]}, "examples": [{"x": 1.5}, {"x": [2.5]}]}
_CLASSIFY = {"signature_name": "classify_x_to_y", "examples": [{"x": 1.5, "y": [1, 2]}]}

VALID = [
    ("typed:predict", _ROWS),
    ("typed:predict", _COLUMNS),
    ("typed:predict", _MATRIX),
    ("half:regress", _REGRESS),
    ("half:classify", _CLASSIFY),
]

# Values that are wrong in the place of any other: no input takes them, and no signature has such a name.
_WRONG = [None, {}, {"b64": 5}, {"b64": "-_-_"}, {"a": {"b": []}}, [1, "a"], [[1, 2], [3]], {"b64": "YQ==", "x": 1}]


def places(value, path=()):
    """The path of every value inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(document, path, change):
    """A copy of a document with another value in one place; `change` gets the container and the key."""
    document = json.loads(json.dumps(document))
    container = document
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return document


def truncated(rng, document):
    body = json.dumps(document, ensure_ascii=False).encode()
    return body[: rng.randrange(len(body))]


def with_a_wrong_value(rng, document):
    """Another value in the place of one that the contract reads: not of a context, whose features nothing parses."""
    path = rng.choice([path for path in places(document) if path[0] != "context" and path[-1] not in ("y", "b64")])
    wrong = rng.choice(_WRONG)

    def put(container, key):
        container[key] = wrong

    return json.dumps(changed(document, path, put)).encode()


def without_a_key(rng, document):
    path = rng.choice(
        [p for p in places(document) if p[-1] in ("word", "offset", "x", "instances", "inputs", "examples")]
    )
    return json.dumps(changed(document, path, lambda container, key: container.pop(key))).encode()


def with_a_key_misspelt(rng, document):
    path = rng.choice(
        [p for p in places(document) if p[-1] in ("word", "offset", "x", "instances", "inputs", "examples")]
    )

    def rename(container, key):
        container[f"{key}s"] = container.pop(key)

    return json.dumps(changed(document, path, rename)).encode()


def nested_deep(rng, document):
    depth = rng.choice([70, 500, 2_000, 100_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}")])
    key = rng.choice(["instances", "inputs", "examples", "signature_name", "context"])
    return f'{{"{key}": {opening * depth}1{closing * rng.choice([0, depth])}}}'.encode()


def with_a_number_out_of_range(rng, document):
    number = rng.choice(["9223372036854775808", "-9223372036854775809", "1e999", "1" * 5_000, "1e400x", "0x10", "--1"])
    return json.dumps(document).replace("1", number, 1).encode()


def no_object(rng, document):
    return rng.choice([b"", b" ", b"[]", b"null", b"5", b'"x"', b"\xff\xfe", b"NaN", json.dumps([document]).encode()])


def of_another_signature(rng, document):
    name = rng.choice(["nope", "__saved_model_init_op", "ragged", "é\x00", 5, ["multiply"], None])
    return json.dumps({**document, "signature_name": name}).encode()


def flipped(rng, document):
    """A few bytes changed: what remains may be a good request."""
    body = bytearray(json.dumps(document, ensure_ascii=False).encode())
    for _ in range(rng.randint(1, 4)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return bytes(body)


SURELY_WRONG = [
    truncated,
    with_a_wrong_value,
    without_a_key,
    with_a_key_misspelt,
    nested_deep,
    no_object,
    of_another_signature,
]
PERHAPS_GOOD = [flipped, with_a_number_out_of_range]


def bad_bodies(count):
    """Seeded (path, body, how it was made, whether it may be answered)."""
    rng = random.Random(_SEED)
    for _ in range(count):
        path, document = rng.choice(VALID)
        mutation = rng.choice(SURELY_WRONG + PERHAPS_GOOD)
        yield f"/v1/models/{path}", mutation(rng, document), mutation.__name__, mutation in PERHAPS_GOOD


def check(count, call):
    slowest = 0.0
    for path, body, how, may_be_answered in bad_bodies(count):
        started = time.perf_counter()
        status, answer = call(path, body)
        slowest = max(slowest, time.perf_counter() - started)
        told = f"{how}: {path} {body[:300]!r} -> {status} {answer[:300]!r}"
        if status == 200:
            assert may_be_answered, told
            continue
        assert status == 400, told
        error = json.loads(answer)
        assert list(error) == ["error"], told
        assert isinstance(error["error"], str), told
        assert "Traceback" not in error["error"], told
        assert ".py" not in error["error"], told
    assert slowest < 1.0


@pytest.fixture(scope="module")
def models(typed_model, half_plus_two):
    typed = ServedModel("typed", typed_model.rsplit("/", 1)[0])
    half = ServedModel("half", half_plus_two)
    models = ServedModels([])
    models._models = {"typed": typed, "half": half}
    models.start()
    yield models
    models.close()


def test_the_bodies_are_good_before_they_are_changed(models):
    api = RestApi(models)
    for path, document in VALID:
        assert api.answer("POST", f"/v1/models/{path}", json.dumps(document).encode()).status == 200


@settings(settings.get_profile("ci"), max_examples=100)
@given(example=st.binary(max_size=12))
def test_a_broken_example_is_refused_in_words(models, example):
    row = {"b64": base64.b64encode(example).decode()}
    body = json.dumps({"signature_name": "regress_x_to_y", "instances": [row]}).encode()
    response = RestApi(models).answer("POST", "/v1/models/half:predict", body)
    assert response.status == 400  # There is no x in it.
    assert "Graph execution error" not in json.loads(response.body)["error"]


LONG = "n" * 1_000_000


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("typed:predict", {"instances": [{LONG: 1}]}),
        ("typed:predict", {"instances": [{"word": "a", "offset": 1, LONG: 1}]}),
        ("typed:predict", {"instances": [1], "signature_name": LONG}),
        ("typed:predict", {"instances": [LONG]}),
        ("typed:predict", {"instances": [{"word": "a", "offset": LONG}]}),
        ("typed:predict", {"inputs": {LONG: LONG}}),
        ("half:classify", {"examples": [{"x": 1.0}], "signature_name": LONG}),
        ("half:regress", {"examples": [{LONG: None}]}),
        ("half:regress", {"examples": [{LONG: [1, 1.0]}]}),
        ("half:regress", {"examples": [{LONG: 2**63}]}),
        ("half:regress", {"examples": [{LONG + "\ud800": 1}]}),
        ("half:predict", {"instances": [LONG], "signature_name": "regress_x_to_y"}),
        (
            "half:predict",
            {
                "instances": [{"b64": base64.b64encode(b"\xff" * 1_000_000).decode()}],
                "signature_name": "regress_x_to_y",
            },
        ),
        ("half:predict", {"instances": [{LONG: 1}], "signature_name": "regress_x_to_y"}),
    ],
)
def test_a_mistake_does_not_send_the_body_back(models, path, document):
    answer = RestApi(models).answer("POST", f"/v1/models/{path}", json.dumps(document).encode())
    assert answer.status == 400
    assert len(answer.body) < 5000, answer.body[:300]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a", "word", "b64"]),
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(["word", "offset", "x", "b64"]), inside)
    ),
    max_leaves=12,
)


@settings(settings.get_profile("ci"), max_examples=150)
@given(
    key=st.sampled_from(["instances", "inputs", "examples", "context"]),
    value=JSON,
    more=st.dictionaries(st.text(), JSON),
)
def test_any_json_is_answered_or_refused_in_words(models, key, value, more):
    for path, _ in VALID:
        body = json.dumps({key: value, **more}).encode()
        response = RestApi(models).answer("POST", f"/v1/models/{path}", body)
        answer = json.loads(response.body)
        assert response.status == 200 or (response.status in (400, 501) and list(answer) == ["error"])


def test_500_bad_bodies(models):
    api = RestApi(models)

    def call(path, body):
        response = api.answer("POST", path, body)
        return response.status, response.body

    check(500, call)


@pytest.mark.slow
def test_5000_bad_bodies_over_http(models, run_app):
    server = run_app(make_app(models, ServerSettings()))

    def call(path, body):
        status, headers, answer = server.call("POST", path, body)
        assert headers["Content-Type"] == "application/json"
        return status, answer

    check(5000, call)
    server.stop()
