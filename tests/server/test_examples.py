import re
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.examples import classify, read_examples, regress
from atrank_tf.server.json_request import read_request


def read(body):
    return [features(example) for example in read_examples(read_request(body), max_bytes=10_000)]


def features(serialized):
    """Feature -> list kind and values, as the contract's cases write them."""
    found = {}
    for name, feature in tf.train.Example.FromString(serialized).features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = [kind, *getattr(feature, kind).value] if kind else []
    return found


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
    length = len(read_examples(request, max_bytes=1000)[0])
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
        read_examples(request, max_bytes=8 * 1024 * 1024)
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
        (b'{"examples": [{"a": 9223372036854775808}]}', "Feature: a has uint64_t element. Only int64_t is supported."),
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


EXAMPLES = np.array([b"", b""], object)


class FakeModel:
    """A model with one signature `s`, whose call gives these outputs."""

    def __init__(self, inputs=("inputs",), **outputs):
        proto = meta_graph_pb2.SignatureDef(method_name="any")
        for name in inputs:
            proto.inputs[name].name = f"{name}:0"
        for name in outputs:
            proto.outputs[name].name = f"{name}:0"
        self.signature_defs = {"s": proto}
        self.outputs = outputs

    def run(self, signature_name, inputs):
        assert signature_name == "s"
        assert inputs == {"inputs": EXAMPLES}
        return self.outputs


LABELS = np.array([[b"car", b"bus"], [b"car", b"bus"]], object)
SCORES = np.array([[0.2, 0.8], [0.7, 0.3]], np.float32)


def test_classes_and_scores_and_either_alone():
    labels, scores = classify(FakeModel(classes=LABELS, scores=SCORES), "s", EXAMPLES)
    assert (labels.tolist(), scores.tolist()) == (LABELS.tolist(), SCORES.tolist())
    labels, scores = classify(FakeModel(classes=LABELS, other=np.zeros(3)), "s", EXAMPLES)
    assert (labels.tolist(), scores.tolist()) == (LABELS.tolist(), [[0.0, 0.0], [0.0, 0.0]])
    labels, scores = classify(FakeModel(scores=SCORES), "s", EXAMPLES)
    assert (labels.tolist(), scores.tolist()) == ([[b"", b""], [b"", b""]], SCORES.tolist())


def test_regressions_of_one_or_two_dimensions():
    for shape in [(2,), (2, 1)]:
        values = np.array([0.5, 1.5], np.float32).reshape(shape)
        assert regress(FakeModel(outputs=values), "s", EXAMPLES).tolist() == [0.5, 1.5]


@pytest.mark.parametrize("method", [classify, regress])
def test_a_signature_takes_one_input_of_that_name(method):
    with pytest.raises(ServingError, match=r"^No signature was found with the name: nope$") as caught:
        method(FakeModel(), "nope", EXAMPLES)
    assert caught.value.code is Code.INVALID_ARGUMENT
    for inputs in ((), ("inputs", "more")):
        with pytest.raises(ServingError, match=r"^Expected one input Tensor\.$"):
            method(FakeModel(inputs, outputs=SCORES), "s", EXAMPLES)
    kind = {classify: "classification", regress: "regression"}[method]
    with pytest.raises(ServingError, match=f"^No {kind} inputs found in SignatureDef: (?s:.*)x:0") as caught:
        method(FakeModel(("x",), scores=SCORES), "s", EXAMPLES)
    assert caught.value.code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, r"^Expected one or two output Tensors, found 0$"),
        ({"a": 1, "b": 2, "scores": SCORES}, "^Expected one or two output Tensors, found 3$"),
        ({"a": 1}, '^Expected classification signature outputs to contain at least one of "classes" or "scores"'),
        ({"scores": SCORES[0]}, r"^Expected Tensor shape: \[batch_size num_classes\] but got \[2\]$"),
        ({"classes": LABELS[:, 0]}, r"^Expected Tensor shape: \[batch_size num_classes\] but got \[2\]$"),
        ({"classes": SCORES}, r"^Expected classes Tensor of DT_STRING. Got: DT_FLOAT$"),
        ({"scores": SCORES.astype(np.float64)}, r"^Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE$"),
        ({"scores": SCORES[:1]}, r"^Expected scores output batch size of 2. Got: 1$"),
        ({"classes": LABELS[:, :1], "scores": SCORES}, r"^Tensors class and score should match .* Got 1 vs. 2$"),
    ],
)
def test_outputs_that_classify_cannot_take(outputs, message):
    with pytest.raises(ServingError, match=message):
        classify(FakeModel(**outputs), "s", EXAMPLES)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, r"^Expected one output Tensor\.$"),
        ({"outputs": SCORES, "more": SCORES}, r"^Expected one output Tensor\.$"),
        ({"scores": SCORES}, "^No regression outputs found in SignatureDef: "),
        ({"outputs": SCORES}, r"^Expected output Tensor shape to be either .* or .* but got \[2,2\]$"),
        ({"outputs": SCORES[0, 0]}, r"^Expected output Tensor shape to be either .* or .* but got \[\]$"),
        ({"outputs": SCORES[0, :1]}, "^Input batch size did not match output batch size: 2 vs. 1$"),
        ({"outputs": np.zeros(2)}, "^Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE$"),
    ],
)
def test_outputs_that_regress_cannot_take(outputs, message):
    with pytest.raises(ServingError, match=message):
        regress(FakeModel(**outputs), "s", EXAMPLES)
