"""SparseAdagrad: the numbers of Keras' Adagrad, the rows of the batch and no others, and decay for all rows."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from table_steps import step_of, whole_reads

from atrank_tf.layers import SparseEmbedding
from atrank_tf.optimizers import ApplyPendingDecay, SparseAdagrad

ROWS, WIDTH = 23, 5


def _gradients(steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.integers(0, ROWS, 7), rng.normal(size=(7, WIDTH)).astype("float32")) for _ in range(steps)]


def _slices(ids: np.ndarray, values: np.ndarray) -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant(values), tf.constant(ids), tf.constant([ROWS, WIDTH]))


def _dense(ids: np.ndarray, values: np.ndarray) -> Any:
    gradient = np.zeros((ROWS, WIDTH), "float32")
    np.add.at(gradient, ids, values)
    return tf.constant(gradient)


def _table() -> SparseEmbedding:
    layer = SparseEmbedding(ROWS, WIDTH, keras.initializers.RandomNormal(seed=0))
    layer.build()
    return layer


@pytest.mark.parametrize("weight_decay", [None, 0.3])
@pytest.mark.parametrize("clip", [{}, {"global_clipnorm": 1.0}], ids=str)
def test_the_numbers_of_adagrad(weight_decay: float | None, clip: dict[str, float]) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 60)
    layer = _table()
    dense = keras.Variable(layer.embeddings.numpy())
    stock = keras.optimizers.Adagrad(schedule, weight_decay=weight_decay, **clip)
    optimizer = SparseAdagrad(schedule, weight_decay=weight_decay, **clip)
    for ids, values in _gradients(50):
        stock.apply([_dense(ids, values)], [dense])
        optimizer.apply([_slices(ids, values)], [layer.embeddings])
    optimizer.apply_pending()
    np.testing.assert_allclose(layer.embeddings.numpy(), dense.numpy(), rtol=1e-4, atol=1e-6)


def test_one_accumulator_per_row_takes_the_mean_square() -> None:
    layer, optimizer = _table(), SparseAdagrad(0.1, accumulators="row")
    weight, accumulator = layer.embeddings.numpy(), np.full((ROWS, 1), 0.1)
    for ids, values in _gradients(20):
        gradient = _dense(ids, values).numpy()
        accumulator += np.mean(gradient**2, axis=1, keepdims=True)
        weight = weight - 0.1 * gradient / np.sqrt(accumulator + 1e-7)
        optimizer.apply([_slices(ids, values)], [layer.embeddings])
    np.testing.assert_allclose(layer.embeddings.numpy(), weight, rtol=1e-4, atol=1e-6)
    assert [tuple(v.shape) for v in optimizer.variables[2:]] == [(ROWS, 1)]


@pytest.mark.parametrize("options", [{}, {"accumulators": "row"}, {"weight_decay": 0.1}], ids=str)
def test_7_other_rows_and_their_slots_stay_as_they_are(options: dict[str, Any]) -> None:
    layer, optimizer = _table(), SparseAdagrad(0.1, **options)
    optimizer.build(layer.trainable_variables)
    for ids, values in _gradients(5):
        before = [v.numpy() for v in (*layer.weights, *optimizer.variables) if v.shape[:1] == (ROWS,)]
        optimizer.apply([_slices(ids, values)], [layer.embeddings])
        after = [v.numpy() for v in (*layer.weights, *optimizer.variables) if v.shape[:1] == (ROWS,)]
        others = np.setdiff1d(np.arange(ROWS), ids)
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(old[others], new[others])
            assert np.all(np.any(old != new, axis=1)[ids])


@pytest.mark.parametrize("options", [{}, {"accumulators": "row"}, {"weight_decay": 0.1}], ids=str)
def test_7_a_step_reads_no_table_and_no_slot_whole(options: dict[str, Any]) -> None:
    assert whole_reads(step_of(_table(), SparseAdagrad(0.1, **options)), ROWS) == 0


def test_8_fit_saved_and_loaded_in_between(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(0, ROWS, (64, 3)), rng.normal(size=(64, 1))

    def made() -> keras.Model:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,), dtype="int32")
        read = keras.layers.Flatten()(SparseEmbedding(ROWS, WIDTH)(inputs))
        model = keras.Model(inputs, keras.layers.Dense(1)(read))
        model.compile(SparseAdagrad(0.1, weight_decay=0.1, accumulators="row"), "mse")
        return model

    def fit(model: keras.Model, epochs: int, first: int = 0) -> None:
        callbacks = [ApplyPendingDecay()]
        model.fit(ids, labels, 4, epochs, initial_epoch=first, shuffle=False, verbose=0, callbacks=callbacks)

    whole, half = made(), made()
    fit(whole, 2)
    fit(half, 1)
    half.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == half.optimizer.get_config()
    fit(loaded, 2, first=1)
    for found, expected in zip(loaded.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match='Expected accumulators="element" or "row"'):
        SparseAdagrad(accumulators="table")
    with pytest.raises(ValueError, match="weight_decay must be at least 0"):
        SparseAdagrad(weight_decay=-1.0)
    with pytest.raises(ValueError, match="SparseAdagrad has no use_ema"):
        SparseAdagrad(use_ema=True)
