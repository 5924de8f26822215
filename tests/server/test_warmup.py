"""The warm-up file, by the field numbers of TensorFlow Serving's protos, and what a server makes of it."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.metrics import Metrics
from atrank_tf.server.protos import new_message
from atrank_tf.server.warmup import WarmupRequest, load_warm, read_warmup, write_warmup

FILE = "assets.extra/tf_serving_warmup_requests"


def examples(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def example(x):
    return tf.train.Example(
        features=tf.train.Features(feature={"x": tf.train.Feature(float_list=tf.train.FloatList(value=[x]))})
    ).SerializeToString()


PREDICT = WarmupRequest(
    {
        "now": np.array([7], np.int64),
        "id": np.array([[b"a", "é".encode()]], object),
        "none": np.empty((1, 0), object),
        "x": np.array([[1.5]], np.float32),
    },
    "buy",
)
REQUESTS = [
    PREDICT,
    WarmupRequest({"inputs": examples(b"one", b"two")}, "sort", "classify"),
    WarmupRequest({"inputs": examples(b"one")}, method="regress"),
]


def test_what_is_written_is_read(tmp_path):
    write_warmup(str(tmp_path), REQUESTS)
    found = read_warmup(str(tmp_path))
    assert [(request.method, request.signature_name) for request in found] == [
        ("predict", "buy"),
        ("classify", "sort"),
        ("regress", "serving_default"),
    ]
    for request, expected in zip(found, REQUESTS, strict=True):
        assert request.inputs.keys() == expected.inputs.keys()
        for name, value in expected.inputs.items():
            assert request.inputs[name].shape == value.shape
            assert request.inputs[name].dtype == value.dtype
            np.testing.assert_array_equal(request.inputs[name], value)


def test_without_a_file_there_are_no_requests(tmp_path):
    assert read_warmup(str(tmp_path)) == []


def fields(message):
    """A serialized message -> field number -> the bytes of its values; of length-delimited fields only."""
    found = {}
    while message:
        tag, message = message[0], message[1:]
        assert tag & 7 == 2, "not length-delimited"
        length = shift = 0
        while True:
            byte, message = message[0], message[1:]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        found.setdefault(tag >> 3, []).append(message[:length])
        message = message[length:]
    return found


def test_a_predict_record_by_its_field_numbers(tmp_path):
    write_warmup(str(tmp_path), [PREDICT])
    [record] = tf.data.TFRecordDataset(str(tmp_path / FILE)).as_numpy_iterator()
    [predict_log] = fields(record)[6]  # PredictionLog.predict_log
    [request] = fields(predict_log)[1]  # PredictLog.request
    [model_spec] = fields(request)[1]  # PredictRequest.model_spec
    assert fields(model_spec) == {3: [b"buy"]}  # ModelSpec.signature_name
    inputs = {}
    for entry in fields(request)[2]:  # PredictRequest.inputs
        [name], [tensor] = fields(entry)[1], fields(entry)[2]
        inputs[name.decode()] = tf.make_ndarray(tensor_pb2.TensorProto.FromString(tensor))
    assert inputs.keys() == PREDICT.inputs.keys()
    assert inputs["id"].tolist() == [[b"a", "é".encode()]]
    assert inputs["now"].dtype == np.int64


@pytest.mark.parametrize(("method", "number"), [("classify", 2), ("regress", 3)])
def test_records_of_examples_by_their_field_numbers(tmp_path, method, number):
    write_warmup(str(tmp_path), [WarmupRequest({"inputs": examples(b"one", b"two")}, "sort", method)])
    [record] = tf.data.TFRecordDataset(str(tmp_path / FILE)).as_numpy_iterator()
    [log] = fields(record)[number]  # PredictionLog.classify_log, regress_log
    [request] = fields(log)[1]
    assert fields(fields(request)[1][0]) == {3: [b"sort"]}  # model_spec
    [example_list] = fields(fields(request)[2][0])[1]  # input.example_list
    assert fields(example_list) == {1: [b"one", b"two"]}


@pytest.mark.parametrize("number", [0, 1001])
def test_a_number_of_requests_that_tensorflow_serving_refuses(tmp_path, number):
    with pytest.raises(ValueError, match=f"^Expected 1 to 1000 warm-up requests. Received: {number}.$"):
        write_warmup(str(tmp_path), [REQUESTS[2]] * number)


def test_a_method_that_there_is_not(tmp_path):
    with pytest.raises(ValueError, match=r"^Expected the method predict, classify or regress. Received: 'rank'.$"):
        write_warmup(str(tmp_path), [WarmupRequest({}, method="rank")])


def write_records(folder, *records):
    (folder / FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
        for record in records:
            writer.write(record)


def test_a_multi_inference_record_is_a_request_for_each_task(tmp_path):
    log = new_message("PredictionLog")
    request = log.multi_inference_log.request
    for name, method in (("c", "classify"), ("r", "regress")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.signature_name = name
    request.input.example_list_with_context.context = b"context"
    request.input.example_list_with_context.examples.append(b"example")
    write_records(tmp_path, log.SerializeToString())
    found = read_warmup(str(tmp_path))
    assert [(request.method, request.signature_name) for request in found] == [("classify", "c"), ("regress", "r")]
    assert found[0].inputs["inputs"].tolist() == [b"contextexample"]


def test_a_record_without_a_request_is_skipped(tmp_path):
    write_records(tmp_path, b"")
    assert read_warmup(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("records", "code", "message"),
    [
        ([b"\xff\xff"], Code.INVALID_ARGUMENT, "^Failed to parse warmup record from "),
        ([b""] * 1001, Code.INVALID_ARGUMENT, r"^Number of warmup records exceeds the maximum \(1000\) at "),
        ([b"\x2a\x00"], Code.UNIMPLEMENTED, "^Unsupported log_type for warmup: session_run_log in "),
        (
            [b"\x22\x0a\x0a\x08\x0a\x06\x12\x04rank"],
            Code.UNIMPLEMENTED,
            r"^Unrecognized signature method_name: \['rank'\] in ",
        ),
    ],
)
def test_records_that_are_wrong(tmp_path, records, code, message):
    write_records(tmp_path, *records)
    with pytest.raises(ServingError, match=message) as caught:
        read_warmup(str(tmp_path))
    assert caught.value.code is code


def test_a_file_of_something_else(tmp_path):
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text("no TFRecord file" * 10)
    with pytest.raises(ServingError, match=r"Please verify your warmup data is in TFRecord format.$") as caught:
        read_warmup(str(tmp_path))
    assert caught.value.code is Code.DATA_LOSS


@pytest.fixture(scope="module")
def folder(half_plus_two, tmp_path_factory):
    """A copy of the contract's model."""
    path = tmp_path_factory.mktemp("warm") / "1"
    shutil.copytree(f"{half_plus_two}/00000123", path)
    return path


GOOD = [
    WarmupRequest({"x": np.array([[1.0]], np.float32)}),
    WarmupRequest({"inputs": examples(example(1.0))}, "classify_x_to_y", "classify"),
    WarmupRequest({"inputs": examples(example(1.0))}, "regress_x_to_y", "regress"),
]


def test_a_version_is_loaded_with_its_requests_run(folder):
    write_warmup(str(folder), GOOD)
    metrics = Metrics()
    model = load_warm(str(folder), metrics=metrics)
    line = f':tensorflow:serving:model_warmup_latency_count{{model_path="{folder}",status="OK"}} 1\n'
    assert line in metrics.page({}).decode()
    assert model.run("serving_default", {"x": np.array([2.0], np.float32)})["y"].tolist() == [3.0]
    model.close()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (WarmupRequest({"x": np.array([[1.0]])}), "Expected float for input 'x'. Received: float64"),
        (WarmupRequest({"x": np.array([[1.0]], np.float32)}, "nope"), 'name: "nope" not found in signature def'),
        (WarmupRequest({"inputs": examples(b"no example")}, "regress_x_to_y", "regress"), "arse"),
        (WarmupRequest({"inputs": examples(example(1.0))}, method="classify"), "No classification inputs found"),
    ],
)
def test_a_version_whose_warm_up_fails_is_not_loaded(folder, request_, message):
    write_warmup(str(folder), [*GOOD, request_])
    metrics = Metrics()
    with pytest.raises(ServingError, match=message) as caught:
        load_warm(str(folder), metrics=metrics)
    line = f'model_warmup_latency_count{{model_path="{folder}",status="{caught.value.code.name}"}} 1\n'
    assert line in metrics.page({}).decode()


def test_a_warm_up_file_that_cannot_be_read_is_counted_too(folder):
    (folder / FILE).write_text("no TFRecord file" * 10)
    metrics = Metrics()
    with pytest.raises(ServingError, match="Please verify your warmup data"):
        load_warm(str(folder), metrics=metrics)
    assert f'model_warmup_latency_count{{model_path="{folder}",status="DATA_LOSS"}} 1\n' in metrics.page({}).decode()


def test_a_warm_up_request_that_takes_longer_than_a_request_may_is_no_fault_of_the_version(tmp_path, caplog):
    class Endless(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def count(self, x):
            return {"y": tf.while_loop(lambda y: tf.reduce_all(y >= 0), lambda y: (y + 1,), (x,))[0]}

    module, path = Endless(), str(tmp_path / "1")
    tf.saved_model.save(module, path, signatures={"serving_default": module.count})
    write_warmup(path, [WarmupRequest({"x": np.zeros(1, np.float32)})])
    model = load_warm(path, timeout_ms=50)
    assert "Warm-up of signature serving_default: broken off" in caplog.text
    assert model.run("serving_default", {"x": np.full(1, -1, np.float32)})["y"].tolist() == [-1.0]
    model.close()
