import gc
import importlib
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.loader import TensorInfo, load


@pytest.fixture(scope="module")
def typed(typed_model):
    model = load(typed_model)
    yield model
    model.close()


def strings(*values):
    return np.array(values, object)


def test_signatures_are_as_stored(typed):
    assert set(typed.signatures) == {"serving_default", "multiply", "ragged", "__saved_model_init_op"}
    signature = typed.signatures["serving_default"]
    assert signature.inputs == {
        "offset": TensorInfo("serving_default_offset:0", "int64", (None,)),
        "word": TensorInfo("serving_default_word:0", "string", (None,)),
    }
    assert {name: (info.dtype, info.shape) for name, info in signature.outputs.items()} == {
        "number": ("int64", (None,)),
        "word_bytes": ("string", (None,)),
    }
    assert typed.signatures["multiply"].inputs["m"].shape == (None, 2)
    assert typed.signatures["ragged"].outputs["rows"].dtype == "invalid"
    assert typed.signatures["__saved_model_init_op"].outputs["__saved_model_init_op"].shape is None
    assert set(typed.signature_defs) == set(typed.signatures)


def test_strings_and_integers(typed):
    results = typed.run("serving_default", {"word": strings(b"a", "b", "é"), "offset": np.array([10, 20, 30])})
    assert results["number"].dtype == np.int64
    assert results["number"].tolist() == [11, 22, 30]
    assert results["word_bytes"].tolist() == [b"a", b"b", "é".encode()]


def test_an_empty_batch(typed):
    results = typed.run("serving_default", {"word": strings(), "offset": np.array([], np.int64)})
    assert {name: array.shape for name, array in results.items()} == {"number": (0,), "word_bytes": (0,)}


def test_agrees_with_the_other_loader(typed, typed_model):
    m = np.array([[1.5, -2.0], [0.25, 4.0]], np.float32)
    expected = tf.saved_model.load(typed_model).signatures["multiply"](m=tf.constant(m))["product"]
    np.testing.assert_array_equal(typed.run("multiply", {"m": m})["product"], expected)


def test_a_graph_that_needs_xla_is_refused_as_tensorflow_serving_has_switched_it_off(tmp_path):
    class Compiled(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def predict(self, x):
            return {"y": tf.function(tf.square, jit_compile=True)(x)}

    module = Compiled()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.predict})
    with pytest.raises(ValueError, match=r"asks for XLA \(jit_compile=True\), which TensorFlow Serving"):
        load(str(tmp_path))


def test_signatures_of_the_same_tensors_share_an_executor(typed):
    m = np.ones((1, 2), np.float32)
    typed.run("multiply", {"m": m})
    made = len(typed._callables)
    typed.signatures["alias"] = typed.signatures["multiply"]
    np.testing.assert_array_equal(typed.run("alias", {"m": m})["product"], typed.run("multiply", {"m": m})["product"])
    assert len(typed._callables) == made
    del typed.signatures["alias"]


def test_functions_are_imported_one_by_one_and_nodes_without_them(typed_model, monkeypatch):
    """Nothing else of a server runs while C++ imports: all at once takes a second of a ranker's load."""
    sizes = []
    importer = importlib.import_module("tensorflow.python.framework.importer")
    inner = importer._import_graph_def_internal

    def imported(graph_def, *arguments, **keywords):
        sizes.append((len(graph_def.node), len(graph_def.library.function)))
        return inner(graph_def, *arguments, **keywords)

    monkeypatch.setattr(importer, "_import_graph_def_internal", imported)
    load(typed_model).close()
    assert sizes[0][0] > 0
    assert sizes[0][1] == 0
    assert len(sizes) > 1
    assert set(sizes[1:]) == {(0, 1)}


def test_a_model_of_tensorflow_1_has_its_tables_filled(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        words = tf.compat.v1.placeholder(tf.string, [None], "words")
        numbers = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([0, 1], tf.int64))
        found = tf.lookup.StaticHashTable(numbers, -1).lookup(words)
        info = tf.compat.v1.saved_model.build_tensor_info
        signature = tf.compat.v1.saved_model.build_signature_def({"words": info(words)}, {"numbers": info(found)})
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "1"))
        fills = tf.compat.v1.tables_initializer()
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=fills)
        builder.save()
    model = load(str(tmp_path / "1"))
    assert model.run("serving_default", {"words": strings(b"b", b"c")})["numbers"].tolist() == [1, -1]
    model.close()


def test_shapes_are_left_to_the_graph(half_plus_two):
    model = load(f"{half_plus_two}/00000123")
    for shape in [(), (3,), (2, 1), (2, 3, 5)]:
        x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
        y = model.run("serving_default", {"x": x})["y"]
        assert isinstance(y, np.ndarray)
        np.testing.assert_array_equal(y, 0.5 * x + 2.0)
    model.close()


@pytest.mark.parametrize("shape", [(2, 3), (2,)])
def test_what_a_kernel_refuses_has_its_text(typed, shape):
    with pytest.raises(ServingError, match=r"In\[0\]") as caught:
        typed.run("multiply", {"m": np.zeros(shape, np.float32)})
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "Graph execution error" not in caught.value.message
    assert ".py" not in caught.value.message


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("nope", {}, '^Serving signature name: "nope" not found in signature def$'),
        ("ragged", {"m": np.zeros((1, 2), np.float32)}, "'ragged' has inputs or outputs that are not dense tensors"),
        ("__saved_model_init_op", {}, "not dense tensors"),
        ("multiply", {}, r"^Expected inputs \['m'\] for signature 'multiply'. Received: \[\].$"),
        ("multiply", {"m": np.zeros((1, 2)), "n": np.zeros(1)}, r"Received: \['m', 'n'\].$"),
        ("multiply", {"m": np.zeros((1, 2))}, "^Expected float for input 'm'. Received: float64.$"),
        ("multiply", {"m": strings(b"x")}, "^Expected float for input 'm'. Received: object.$"),
        (
            "serving_default",
            {"word": np.zeros(1), "offset": np.zeros(1, np.int64)},
            "^Expected string for input 'word'",
        ),
    ],
)
def test_calls_that_do_not_fit_the_signature(typed, signature, inputs, message):
    with pytest.raises(ServingError, match=message) as caught:
        typed.run(signature, inputs)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("example", [b"\xff\xfe\xaa", b"\x01\n\xaa\x03\n9"])
def test_a_kernel_that_quotes_bytes_that_are_no_text(half_plus_two, example):
    model = load(f"{half_plus_two}/00000123")
    with pytest.raises(ServingError, match="Could not parse example input, value: '") as caught:
        model.run("regress_x_to_y", {"inputs": strings(example)})
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message.isprintable() or "\n" in caught.value.message
    model.close()


def test_a_run_ends_at_its_time_limit(tmp_path):
    class Endless(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def count(self, x):
            return {"y": tf.while_loop(lambda y: tf.reduce_all(y >= 0), lambda y: (y + 1,), (x,))[0]}

    module = Endless()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.count})
    model = load(str(tmp_path / "1"), timeout_ms=100)
    with pytest.raises(ServingError, match="Timed out") as caught:
        model.run("serving_default", {"x": np.zeros(1, np.float32)})
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert model.run("serving_default", {"x": np.full(1, -1, np.float32)})["y"].tolist() == [-1.0]
    model.close()


def test_many_threads_at_once(typed):
    def call(number):
        return typed.run("multiply", {"m": np.full((1, 2), number, np.float32)})["product"].tolist()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(call, range(100)))
    assert results == [[[4.0 * number, 6.0 * number]] for number in range(100)]


@pytest.mark.parametrize("ran", [False, True])
def test_a_closed_model_says_so(half_plus_two, ran):
    model = load(f"{half_plus_two}/00000123")
    if ran:  # A signature is compiled when it is first run: either may come after the end.
        model.run("serving_default", {"x": np.zeros(1, np.float32)})
    model.close()
    with pytest.raises(ServingError, match="not loaded any more") as caught:
        model.run("serving_default", {"x": np.zeros(1, np.float32)})
    assert caught.value.code is Code.UNAVAILABLE


def test_a_closed_model_gives_its_memory_back_without_the_garbage_collector(half_plus_two):
    gc.disable()
    try:
        model = load(f"{half_plus_two}/00000123")
        graph = weakref.ref(model._session.graph)
        model.close()
        del model
        assert graph() is None
    finally:
        gc.enable()


def test_two_models_do_not_share_anything(tmp_path, save_affine):
    models = []
    for number in (1, 2):
        save_affine(tmp_path / str(number), slope=float(number))
        models.append(load(str(tmp_path / str(number))))
    x = np.array([3.0], np.float32)
    assert [model.run("serving_default", {"x": x})["y"].tolist() for model in models] == [[5.0], [8.0]]
    models[0].close()
    assert models[1].run("serving_default", {"x": x})["y"].tolist() == [8.0]
    models[1].close()


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"without a saved_model\.pb in it"):
        load(str(tmp_path))


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff no protobuf")
    with pytest.raises(OSError, match="cannot be parsed"):
        load(str(tmp_path))


def test_a_model_without_the_serve_tag(tmp_path):
    proto = saved_model_pb2.SavedModel()
    proto.meta_graphs.add().meta_info_def.tags.append("train")
    (tmp_path / "saved_model.pb").write_bytes(proto.SerializeToString())
    with pytest.raises(
        ValueError, match=r"Expected a MetaGraph with the tag 'serve' .* Received: tags \[\['train'\]\]"
    ):
        load(str(tmp_path))


def test_missing_variables(tmp_path, save_affine):
    save_affine(tmp_path / "1")
    for file in (tmp_path / "1" / "variables").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="not a valid checkpoint"):
        load(str(tmp_path / "1"))


def test_variables_cut_short(tmp_path, save_affine):
    save_affine(tmp_path / "1")
    (tmp_path / "1" / "variables" / "variables.index").write_bytes(b"")
    with pytest.raises(tf.errors.OpError, match="RestoreV2"):
        load(str(tmp_path / "1"))
