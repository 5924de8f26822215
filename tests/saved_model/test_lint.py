import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from atrank_tf.saved_model.lint import lint


def save(path, function, *specs, name="serving_default"):
    module = tf.Module()
    module.function = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(path), signatures={name: module.function})
    return str(path)


def x_spec(dtype=tf.float32):
    return tf.TensorSpec([None, 2], dtype, name="x")


@contextlib.contextmanager
def edited(path):
    """The MetaGraphDef of a saved model, to be changed in place: for what cannot be exported from here."""
    file = f"{path}/saved_model.pb"
    with tf.io.gfile.GFile(file, "rb") as stored:
        proto = saved_model_pb2.SavedModel.FromString(stored.read())
    yield proto.meta_graphs[0]
    with tf.io.gfile.GFile(file, "wb") as stored:
        stored.write(proto.SerializeToString())


def test_good_exports_pass(typed_model, half_plus_two, tmp_path):
    assert lint(f"{half_plus_two}/00000123") == []
    inputs = {
        "history_id": keras.Input((None,), name="history_id", dtype="int64"),
        "word": keras.Input((), name="word", dtype="string"),
    }
    words = keras.layers.StringLookup(vocabulary=["a", "b"])(inputs["word"])
    ids = keras.layers.Embedding(10, 4)(inputs["history_id"])
    attended = keras.layers.MultiHeadAttention(2, 2)(ids, ids)
    scores = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(attended))
    model = keras.Model(inputs, {"scores": scores, "words": words})
    model.export(str(tmp_path / "keras"), verbose=False)
    assert lint(str(tmp_path / "keras")) == []


def test_every_problem_of_a_model_is_told(typed_model):
    assert lint(typed_model) == [
        "Output 'rows' of signature 'ragged' is of dtype invalid (a ragged or sparse tensor), which a JSON response "
        "cannot carry. Cast it to float32."
    ]


@pytest.mark.parametrize("where", ["endpoint", "inside"])
def test_xla_compilation(tmp_path, where):
    compiled = tf.function(lambda x: {"y": x + 1.0}, jit_compile=True)
    if where == "endpoint":
        module = tf.Module()
        module.function = compiled
        signature = compiled.get_concrete_function(x_spec())
        tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": signature})
        problems = lint(str(tmp_path))
    else:
        problems = lint(save(tmp_path, lambda x: compiled(x), x_spec()))
    assert problems
    assert all("asks for XLA (jit_compile=True)" in problem for problem in problems)


@pytest.mark.parametrize("where", ["node", "function"])
def test_xla_compilation_marked_in_one_place_only(tmp_path, where):
    path = save(tmp_path, lambda x: {"y": x}, x_spec())
    with edited(path) as meta_graph:
        graph = meta_graph.graph_def
        marked = graph.node.add(name="added", op="NoOp") if where == "node" else graph.library.function[0]
        marked.attr["_XlaMustCompile"].b = True
    (problem,) = lint(path)
    assert "asks for XLA (jit_compile=True)" in problem


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("XlaCallModule", "Op XlaCallModule in the graph needs XLA"),
        ("PyFunc", "Op PyFunc in the graph calls back into Python"),
        ("MyOwnOp", "Op MyOwnOp in the graph is not one of TensorFlow's own"),
    ],
)
def test_ops_in_the_graph(tmp_path, op, message):
    path = save(tmp_path, lambda x: {"y": x}, x_spec())
    with edited(path) as meta_graph:
        meta_graph.graph_def.node.add(name="added", op=op)
    (problem,) = lint(path)
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("python", "op"),
    [
        (lambda x: tf.numpy_function(lambda v: v + 1, [x], tf.float32), "PyFunc"),
        (lambda x: tf.numpy_function(lambda v: v + 1, [x], tf.float32, stateful=False), "PyFuncStateless"),
        (lambda x: tf.py_function(lambda v: v + 1, [x], tf.float32), "EagerPyFunc"),
    ],
)
def test_python_functions_inside(tmp_path, python, op):
    path = save(tmp_path, lambda x: {"y": tf.ensure_shape(python(x), [None, 2])}, x_spec())
    (problem,) = lint(path)
    assert f"Op {op} in " in problem
    assert "calls back into Python" in problem


@pytest.mark.parametrize(
    ("dtype", "name"), [(tf.float16, "half"), (tf.bfloat16, "bfloat16"), (tf.complex64, "complex64")]
)
def test_output_dtypes(tmp_path, dtype, name):
    (problem,) = lint(save(tmp_path, lambda x: {"y": tf.cast(x, dtype)}, x_spec()))
    assert problem.startswith(f"Output 'y' of signature 'serving_default' is of dtype {name}, which a JSON response")


def test_ragged_output(tmp_path):
    (problem,) = lint(save(tmp_path, lambda x: {"y": tf.RaggedTensor.from_tensor(x)}, x_spec()))
    assert "Output 'y' of signature 'serving_default' is of dtype invalid (a ragged or sparse tensor)" in problem


def test_output_without_dimensions(tmp_path):
    (problem,) = lint(save(tmp_path, lambda x: {"y": tf.reduce_sum(x)}, x_spec()))
    assert problem.startswith("Output 'y' of signature 'serving_default' has no batch dimension")


def test_output_of_unknown_rank_passes(tmp_path):
    assert lint(save(tmp_path, lambda x: {"y": x}, tf.TensorSpec(None, tf.float32, name="x"))) == []


def test_input_dtype(tmp_path):
    path = save(tmp_path, lambda x: {"y": tf.cast(x, tf.float32)}, x_spec(tf.float16))
    (problem,) = lint(path)
    assert problem.startswith("Input 'x' of signature 'serving_default' is of dtype half, which a JSON request")


def test_names_of_unnamed_keras_inputs(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.export(str(tmp_path), verbose=False)
    problems = [problem for problem in lint(str(tmp_path)) if "'serving_default'" in problem]
    assert len(problems) == 1
    assert problems[0].startswith("Input 'keras_tensor")
    assert "has a name that Keras made up" in problems[0]


def test_names_of_positional_inputs(tmp_path):
    class Unnamed(keras.Model):
        def call(self, inputs):
            return {"y": inputs["a"] + inputs["b"]}

    model = Unnamed()
    model({"a": np.ones((1, 2), np.float32), "b": np.ones((1, 2), np.float32)})
    model.export(str(tmp_path), verbose=False)
    problems = lint(str(tmp_path))
    for name in ("args_0", "args_0_1"):
        assert any(problem.startswith(f"Input {name!r} of signature 'serving_default'") for problem in problems)


@pytest.mark.parametrize("name", ["my_args_0", "argsy", "keras_tensors", "args_a"])
def test_names_that_only_look_alike_pass(tmp_path, name):
    assert lint(save(tmp_path, lambda x: {"y": x}, tf.TensorSpec([None], tf.float32, name=name))) == []


def test_no_default_signature(tmp_path):
    (problem,) = lint(save(tmp_path, lambda x: {"y": x}, x_spec(), name="next_purchase"))
    assert problem.startswith("There is no signature 'serving_default'")
    assert "['next_purchase']" in problem


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"without a saved_model\.pb in it"):
        lint(str(tmp_path))
