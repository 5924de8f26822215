"""SparseEmbedding looks up what Embedding does, without reading the table."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import SparseEmbedding

ROWS, WIDTH = 11, 5


def _layer(**kwargs: Any) -> SparseEmbedding:
    layer = SparseEmbedding(ROWS, WIDTH, "normal", **kwargs)
    layer.build()
    return layer


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (3, 2, 7), (0,), (3, 0)])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_rows_of_the_table_for_ids_of_any_shape(shape: tuple[int, ...], dtype: str) -> None:
    layer = _layer()
    ids = np.random.default_rng(0).integers(0, ROWS, shape).astype(dtype)
    np.testing.assert_array_equal(layer(tf.constant(ids)), layer.embeddings.numpy()[ids])


def _ops(function: Any) -> set[str]:
    return {op.type for op in function.get_concrete_function().graph.get_operations()}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_7_the_table_is_never_read_whole(policy: str) -> None:
    layer = _layer(dtype=policy)
    inputs = keras.Input((2,), dtype="int64")
    model = keras.Model(inputs, keras.layers.Dense(3, dtype=policy)(layer(inputs)))
    ids = tf.constant([[1, 2]])
    embed = tf.function(lambda: layer(ids))
    assert "ResourceGather" in _ops(embed)
    assert "ReadVariableOp" not in _ops(embed)
    graph = tf.function(lambda: model(ids)).get_concrete_function().graph
    assert [op.type for op in graph.get_operations()].count("ReadVariableOp") == 2  # Kernel and bias.


def test_the_gradient_is_of_the_rows_read() -> None:
    layer = _layer()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([[3, 3, 7]])))
    gradient = tape.gradient(loss, layer.embeddings.value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.indices.numpy().tolist() == [3, 3, 7]


def test_mixed_precision_casts_what_was_gathered() -> None:
    layer = _layer(dtype="mixed_float16")
    assert layer.embeddings.dtype == "float32"
    found = layer(tf.constant([2]))
    assert found.dtype == "float16"
    np.testing.assert_array_equal(found, layer.embeddings.numpy()[[2]].astype("float16"))


def test_weights_go_from_embedding_and_back() -> None:
    dense, sparse = keras.layers.Embedding(ROWS, WIDTH, name="items"), _layer(name="items")
    dense.build()
    sparse.set_weights(dense.get_weights())
    np.testing.assert_array_equal(sparse(tf.constant([3, 5])), dense(tf.constant([3, 5])))
    assert sparse.weights[0].path == dense.weights[0].path


class Towers(keras.Model):
    """A model without a `training` argument that reads one table twice."""

    def __init__(self) -> None:
        super().__init__()
        self.items = SparseEmbedding(ROWS, WIDTH)

    def call(self, inputs: Any) -> Any:
        return tf.einsum("btd,bnd->bn", self.items(inputs["history"]), self.items(inputs["candidates"]))


def test_exported_and_loaded_gives_the_same(tmp_path: Any) -> None:
    model = Towers()
    inputs = {"history": tf.constant([[1, 2, 3]]), "candidates": tf.constant([[4, 5]])}
    expected = model(inputs)
    signature = {name: keras.layers.InputSpec(dtype="int32", shape=(None, None), name=name) for name in inputs}
    model.export(str(tmp_path / "export"), input_signature=[signature], verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    np.testing.assert_allclose(loaded.serve(inputs), expected, rtol=1e-6)


@pytest.mark.parametrize("size", ["input_dim", "output_dim"])
def test_sizes_are_positive(size: str) -> None:
    with pytest.raises(ValueError, match=f"{size} must be positive. Received: {size}=0"):
        SparseEmbedding(**{"input_dim": 2, "output_dim": 2, size: 0})


def test_a_model_with_it_is_not_compiled_by_xla_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda *_: [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    )
    for layer, expected in ((keras.layers.Embedding(ROWS, WIDTH), True), (SparseEmbedding(ROWS, WIDTH), False)):
        model = keras.Sequential([layer, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        assert model.jit_compile is expected
