"""SparseMuon: matrices by the equations of Muon, all else by SparseAdam; saved, loaded and trained as any optimizer."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import SparseEmbedding
from atrank_tf.optimizers import ApplyPendingDecay, SparseAdam, SparseMuon
from atrank_tf.optimizers.sparse_muon import LEAST_SIZE, orthogonal

ROWS, COLUMNS = 40, 20


def _orthogonal(matrix: np.ndarray, iterations: int = 3) -> np.ndarray:
    """NumPy: Newton-Schulz as its authors write it, on the matrix itself."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / np.linalg.norm(x)
    for _ in range(iterations):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (COLUMNS, ROWS), (ROWS, ROWS)])
def test_orthogonal_keeps_directions_and_makes_singular_values_alike(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype("float32")
    found = orthogonal(tf.constant(matrix), iterations=5).numpy()
    np.testing.assert_allclose(found, _orthogonal(matrix, 5), atol=2e-4)
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    in_its_directions = u.T @ found @ v.T
    values = np.diag(in_its_directions)
    np.testing.assert_allclose(in_its_directions, np.diag(values), atol=2e-4)
    assert values.min() > 0.5 and values.max() < 1.25


def test_orthogonal_of_several_matrices_is_that_of_each_and_of_zeros_is_zero() -> None:
    matrices = np.random.default_rng(0).normal(size=(3, ROWS, COLUMNS)).astype("float32")
    matrices[1] = 0
    found = orthogonal(tf.constant(matrices)).numpy()
    for each, matrix in zip(found[[0, 2]], matrices[[0, 2]], strict=True):
        np.testing.assert_allclose(each, _orthogonal(matrix), atol=2e-4)
    assert (found[1] == 0).all()


@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (3, COLUMNS, ROWS)])
def test_a_matrix_takes_the_steps_of_muon(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    kernel = keras.Variable(rng.normal(size=shape), dtype="float32", name="value_kernel")
    weight, momentum = kernel.numpy().astype("float64"), np.zeros(shape)
    optimizer = SparseMuon(0.1, momentum=0.9, weight_decay=0.2)
    for _ in range(5):
        gradient = rng.normal(size=shape)
        optimizer.apply([tf.constant(gradient, tf.float32)], [kernel])
        momentum = 0.9 * momentum + 0.1 * gradient
        ahead = (0.9 * momentum + 0.1 * gradient).reshape(-1, *shape[-2:])
        step = np.stack([_orthogonal(each) for each in ahead]).reshape(shape)
        weight = weight * (1 - 0.1 * 0.2) - 0.1 * 0.2 * np.sqrt(max(shape[-2:])) * step
    np.testing.assert_allclose(kernel.numpy(), weight, rtol=1e-3, atol=2e-4)


def test_its_step_is_about_as_large_as_adams() -> None:
    rng, moved = np.random.default_rng(0), {}
    gradients = rng.normal(size=(30, ROWS, COLUMNS))
    for kind in (SparseAdam, SparseMuon):
        kernel, optimizer = keras.Variable(np.zeros((ROWS, COLUMNS)), dtype="float32", name="kernel"), kind(0.01)
        steps = []
        for gradient in gradients:
            before = kernel.numpy()
            optimizer.apply([tf.constant(gradient, tf.float32)], [kernel])
            steps.append(np.sqrt(np.mean((kernel.numpy() - before) ** 2)))
        moved[kind] = np.mean(steps[10:])
    assert 0.5 < moved[SparseMuon] / moved[SparseAdam] < 2


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("bias", (ROWS,)),
        ("kernel", (ROWS, 1)),
        ("kernel", (LEAST_SIZE - 1, ROWS)),
        ("steps", (ROWS, COLUMNS)),
    ],
)
def test_other_variables_take_the_steps_of_sparse_adam(name: str, shape: tuple[int, ...]) -> None:
    rng, results = np.random.default_rng(0), []
    first, gradients = rng.normal(size=shape), rng.normal(size=(5, *shape))
    for kind in (SparseAdam, SparseMuon):
        variable, optimizer = keras.Variable(first, dtype="float32", name=name), kind(0.01)
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)


def test_workers_take_the_step_of_their_mean_gradient() -> None:
    rng, results = np.random.default_rng(0), []
    first, own, mean = (rng.normal(size=(ROWS, COLUMNS)).astype("float32") for _ in range(3))
    for gradient, reduce in ((own, lambda gradients: [tf.constant(mean) for _ in gradients]), (mean, None)):
        kernel = keras.Variable(first, name="kernel")
        SparseMuon(0.1, reduce_gradients=reduce).apply([tf.constant(gradient)], [kernel])
        results.append(kernel.numpy())
    np.testing.assert_array_equal(*results)


def test_a_matrix_has_one_slot_and_other_variables_have_adams_two() -> None:
    kernel, bias = (
        keras.Variable(np.zeros(shape), name=name)
        for name, shape in (("kernel", (ROWS, COLUMNS)), ("bias", (COLUMNS,)))
    )
    optimizer = SparseMuon()
    optimizer.build([kernel, bias])
    shapes = [tuple(variable.shape) for variable in optimizer.variables[2:]]
    assert sorted(shapes) == [(COLUMNS,), (COLUMNS,), (ROWS, COLUMNS)]


def _model() -> Any:
    keras.utils.set_random_seed(0)
    ids = keras.Input((4,), dtype="int32")
    read = keras.layers.Flatten()(SparseEmbedding(50, COLUMNS, name="table")(ids))
    hidden = keras.layers.Dense(ROWS, "relu")(read)
    return keras.Model(ids, keras.layers.Dense(1)(hidden))


def test_8_saved_and_loaded_in_between_gives_the_same_weights(tmp_path: Any) -> None:
    ids = np.random.default_rng(0).integers(0, 50, (64, 4))
    target = (ids.sum(axis=1) % 2).astype("float32")
    options: dict[str, Any] = {"batch_size": 16, "shuffle": False, "verbose": 0}

    def fit(model: Any, epochs: int) -> Any:
        return model.fit(ids, target, epochs=epochs, callbacks=[ApplyPendingDecay()], **options)

    whole, halves = _model(), _model()
    for model in (whole, halves):
        model.compile(SparseMuon(0.01, l2=1e-3, momentum=0.9), "mse")
    fit(whole, 4)
    fit(halves, 2)
    halves.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.momentum == 0.9
    fit(loaded, 2)
    for one, other in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, r"momentum must be at least 0 and below 1\. Received: momentum=1\.0\."),
        ({"l2": -1.0}, r"l2 must be at least 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparseMuon(**options)
