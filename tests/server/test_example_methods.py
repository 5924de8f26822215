"""Signatures that classify and regress cannot call, and outputs that they cannot take."""

import numpy as np
import pytest
from tensorflow.core.protobuf import meta_graph_pb2

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.example_methods import classify, regress

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
