import json

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.server import json_response
from atrank_tf.server.errors import ServingError
from atrank_tf.server.json_response import (
    tokens,
    write_classifications,
    write_predict_response,
)
from atrank_tf.server.json_tensors import Format


def row(**outputs):
    return write_predict_response(outputs, Format.ROW)


def test_numbers_that_strict_json_lacks():
    values = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    assert row(o=values) == b'{"predictions": [NaN, Infinity, -Infinity, -0.0]}'


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_number_reads_back_as_it_was(dtype):
    limits = np.finfo(dtype)
    rng = np.random.default_rng(3)
    scales = 10.0 ** rng.integers(-30, 30, 500)
    values = np.append((rng.normal(size=500) * scales).astype(dtype), [limits.max, limits.tiny, limits.min, 0])
    written = json.loads(row(o=values.astype(dtype)))["predictions"]
    np.testing.assert_array_equal(np.array(written).astype(dtype), values.astype(dtype))
    assert all(isinstance(value, float) for value in written)


def test_six_digits_are_written_where_they_give_the_float_back():
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    short = np.array([float(f"{value:.4g}") for value in rng.normal(size=2000)], np.float32)
    powers = np.concatenate([10.0 ** np.arange(-45, 39), 2.0 ** np.arange(-149, 128)]).astype(np.float32)
    values = np.concatenate([bits[np.isfinite(bits)], short, powers, -powers, [0.1, 0.0, 16777216]]).astype(np.float32)
    for value, token in zip(values.tolist(), tokens(values), strict=True):
        with np.errstate(over="ignore"):
            six_do = np.float32(float(f"{value:.6g}")) == np.float32(value)
        expected = f"{value:.6g}" if six_do else f"{value:.9g}"
        assert token == (expected if "." in expected or "e" in expected else f"{expected}.0")


def test_numbers_are_written_some_at_a_time_so_that_other_threads_run_between(monkeypatch):
    sizes, whole = [], json_response._formatted

    def formatted(flat, digits):
        sizes.append(flat.size)
        return whole(flat, digits)

    values = np.random.default_rng(7).normal(size=25_000).astype(np.float32)
    monkeypatch.setattr(json_response, "_formatted", formatted)
    written = tokens(values)
    assert max(sizes) <= 10_000
    assert [np.float32(token) for token in written] == values.tolist()


def test_strings_are_escaped_and_those_that_are_not_utf8_pass_through():
    strings = np.array(['q"\\\n\x1f', "é".encode(), b"\xff"], object)
    assert row(s=strings) == b'{"predictions": ["q\\"\\\\\\n\\u001f", "\xc3\xa9", "\xff"]}'
    assert row(s_bytes=strings[1:]) == b'{"predictions": [{"b64": "w6k="}, {"b64": "/w=="}]}'
    assert row(s=np.array(["a", "b"])) == b'{"predictions": ["a", "b"]}'


def test_dimensions_are_nested_in_order():
    values = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    assert json.loads(row(o=values)) == {"predictions": values.tolist()}
    assert json.loads(write_predict_response({"o": values}, Format.COLUMNAR)) == {"outputs": values.tolist()}


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (2, 0, 3), (2, 3, 0)])
def test_empty_dimensions(shape):
    values = np.zeros(shape, np.float32)
    assert json.loads(row(o=values)) == {"predictions": values.tolist()}
    assert json.loads(write_predict_response({"a": values, "b": values}, Format.COLUMNAR)) == {
        "outputs": {"a": values.tolist(), "b": values.tolist()}
    }


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "^Cannot convert empty tensor map to JSON$"),
        ({"o": np.float32(1)}, "^Tensor name: o has no shape information $"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "^Tensor name: b has inconsistent batch size: 3 expecting: 2$"),
        ({"o": np.zeros(2, np.float16)}, "^Failed to write JSON value for tensor type: half$"),
        ({"o": np.zeros(2, tf.bfloat16.as_numpy_dtype)}, "^Failed to write JSON value for tensor type: bfloat16$"),
        ({"o": np.zeros(2, np.complex128)}, "^Failed to write JSON value for tensor type: complex128$"),
    ],
)
def test_errors(outputs, message):
    with pytest.raises(ServingError, match=message):
        write_predict_response(outputs, Format.ROW)


def classify_body(found):
    labels = np.array([[pair["label"].encode() for pair in row] for row in found], object)
    scores = np.array([[pair["score"] for pair in row] for row in found], np.float32)
    rows, classes = len(found), len(found[0]) if found else 0
    return write_classifications(labels.reshape(rows, classes), scores.reshape(rows, classes))


def test_labels_are_escaped_and_scores_keep_their_digits():
    found = [[{"label": 'a"b', "score": 1 / 3}, {"label": "", "score": np.inf}]]
    assert classify_body(found) == b'{"results": [[["a\\"b", 0.333333343], ["", Infinity]]]}'


def test_an_example_may_have_no_class():
    assert write_classifications(np.empty((2, 0), object), np.empty((2, 0), np.float32)) == b'{"results": [[], []]}'
