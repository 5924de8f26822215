"""SparseAdam: the rows of the batch and no others; decay for all rows; the numbers of dense Adam where it says so."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import SparseEmbedding
from atrank_tf.training import SettleTables, SparseAdam

ROWS, WIDTH = 23, 5


def _table(rows: int = ROWS, width: int = WIDTH, seed: int = 0) -> SparseEmbedding:
    layer = SparseEmbedding(rows, width, keras.initializers.RandomNormal(stddev=0.05, seed=seed))
    layer.build()
    return layer


def _stepper(layer: SparseEmbedding, optimizer: Any) -> Any:
    """One step as training does it: a lookup, a gradient through it, an update."""
    optimizer.build(layer.trainable_variables)

    @tf.function(reduce_retracing=True)
    def step(ids: Any, pull: Any) -> Any:
        with tf.GradientTape() as tape:
            read = layer(ids, training=True)
            loss = tf.reduce_sum(tf.cast(pull, read.dtype) * read)
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
        return read

    return lambda ids, pull: step(tf.constant(ids, tf.int64), tf.constant(pull, tf.float32)).numpy()


class DenseAdam:
    """NumPy: Adam with everything for every row in every step."""

    def __init__(self, weight: np.ndarray, weight_decay: float = 0.0, l2: float = 0.0) -> None:
        self.weight, self.weight_decay, self.l2 = weight.astype("float64"), weight_decay, l2
        self.m, self.v, self.step = np.zeros_like(self.weight), np.zeros_like(self.weight), 0

    def __call__(self, ids: np.ndarray, pull: np.ndarray, rate: float) -> np.ndarray:
        self.step += 1
        read = self.weight[ids]
        gradient = 2 * self.l2 * self.weight
        np.add.at(gradient, ids, pull)
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        alpha = rate * np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
        self.weight = self.weight * (1 - rate * self.weight_decay) - alpha * self.m / (np.sqrt(self.v) + 1e-7)
        return read


def _batches(steps: int, rows: int = ROWS, size: int = 6, scale: float = 1e-3) -> Iterator[Any]:
    """Zipf-distributed ids with gradients of their own."""
    rng = np.random.default_rng(1)
    share = 1 / np.arange(1, rows + 1)
    for _ in range(steps):
        yield rng.choice(rows, size, p=share / share.sum()), scale * rng.normal(size=(size, WIDTH))


def _difference(found: Any, expected: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("moments", ["lazy", "dense"])
def test_batches_with_every_row_give_the_numbers_of_adam(moments: str) -> None:
    layer = _table()
    adam, step = DenseAdam(layer.embeddings.numpy()), _stepper(layer, SparseAdam(0.01, moments=moments))
    rng = np.random.default_rng(0)
    for _ in range(30):
        ids, pull = np.concatenate([rng.permutation(ROWS), [3, 3]]), rng.normal(size=(ROWS + 2, WIDTH))
        adam(ids, pull, 0.01)
        step(ids, pull)
    np.testing.assert_allclose(layer.embeddings.numpy(), adam.weight, rtol=1e-4, atol=1e-6)


def test_other_variables_and_dense_gradients_are_treated_as_in_keras() -> None:
    rng, results = np.random.default_rng(0), []
    first, gradients = rng.normal(size=(7, 3)), rng.normal(size=(20, 7, 3))
    for kind in (keras.optimizers.Adam, SparseAdam):
        variable = keras.Variable(first, dtype="float32")
        optimizer = kind(keras.optimizers.schedules.CosineDecay(0.1, 30), weight_decay=0.01, clipnorm=0.5)
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        results.append(variable.numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"l2": 1e-3}], ids=str)
def test_7_other_rows_and_their_slots_stay_as_they_are(options: dict[str, float]) -> None:
    layer, optimizer = _table(), SparseAdam(0.01, **options)
    step = _stepper(layer, optimizer)
    for ids, pull in _batches(5):
        before = [v.numpy() for v in (*layer.weights, *optimizer.variables) if v.shape[:1] == (ROWS,)]
        step(ids, pull)
        after = [v.numpy() for v in (*layer.weights, *optimizer.variables) if v.shape[:1] == (ROWS,)]
        others = np.setdiff1d(np.arange(ROWS), ids)
        assert len(before) == 4 if not options or "l2" in options else 5
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(old[others], new[others])
            assert np.all(np.any((old != new).reshape(ROWS, -1)[np.unique(ids)], axis=1))


def test_a_rare_row_moves_by_the_learning_rate_when_it_is_first_read() -> None:
    layer, optimizer = _table(), SparseAdam(0.01)
    step = _stepper(layer, optimizer)
    for _ in range(50):
        step([0], np.ones((1, WIDTH)))
    before = layer.embeddings.numpy()[1]
    step([1], 1e-3 * np.ones((1, WIDTH)))
    np.testing.assert_allclose(before - layer.embeddings.numpy()[1], 0.01, rtol=5e-3)


def test_no_ids_touch_nothing() -> None:
    layer = _table()
    before, step = layer.embeddings.numpy(), _stepper(layer, SparseAdam(0.01, l2=1e-3))
    step(np.zeros(0), np.zeros((0, WIDTH)))
    np.testing.assert_array_equal(layer.embeddings.numpy(), before)


@pytest.mark.parametrize("clip", [{"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 0.3}], ids=str)
def test_clipping_sees_the_dense_gradient(clip: dict[str, float]) -> None:
    ids, pull = np.array([3, 3, 7, 3]), np.arange(20.0).reshape(4, 5)
    layer, dense = _table(), keras.Variable(np.zeros((ROWS, WIDTH)), dtype="float32")
    gradient = np.zeros((ROWS, WIDTH), "float32")
    np.add.at(gradient, ids, pull)
    sparse_clipped, dense_clipped = [], []
    for variable, given, seen in (
        (layer.embeddings, tf.IndexedSlices(tf.constant(pull, tf.float32), ids, (ROWS, WIDTH)), sparse_clipped),
        (dense, tf.constant(gradient), dense_clipped),
    ):
        optimizer = SparseAdam(**clip)
        optimizer.update_step = lambda g, v, rate, seen=seen: seen.append(tf.convert_to_tensor(g))  # type: ignore[method-assign]
        optimizer.apply([given], [variable])
    np.testing.assert_allclose(sparse_clipped[0], dense_clipped[0], rtol=1e-6)


@pytest.mark.parametrize("moments", ["lazy", "dense"])
def test_decoupled_decay_reaches_every_row(moments: str) -> None:
    """Without gradients the decay stands alone, and is exact; the rate follows a schedule."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([300, 600], [0.1, 0.03, 0.01])
    layer = _table()
    optimizer = SparseAdam(schedule, weight_decay=0.02, moments=moments)
    step, adam = _stepper(layer, optimizer), DenseAdam(layer.embeddings.numpy(), weight_decay=0.02)
    for number, (ids, pull) in enumerate(_batches(1000, scale=0.0)):
        np.testing.assert_allclose(step(ids, pull), adam(ids, pull, float(schedule(number))), rtol=1e-4)
    optimizer.settle()
    np.testing.assert_allclose(layer.embeddings.numpy(), adam.weight, rtol=1e-4)
    assert np.abs(adam.weight).max() < 0.7 * 0.15


def test_the_sum_of_decays_does_not_lose_small_steps() -> None:
    layer, optimizer = _table(), SparseAdam(1e-4, weight_decay=1e-4)
    step = _stepper(layer, optimizer)
    optimizer._clock.assign([1e7, 1e3, -20.0])
    optimizer._stamps[0].assign(np.tile([[1e7, 1e3, -20.0]], (ROWS, 1)))
    for _ in range(100):
        step([0], np.zeros((1, WIDTH)))
    np.testing.assert_allclose(optimizer._clock.numpy()[2] + 20, 100 * np.log1p(-1e-8), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "scale", "rate"),
    [
        ({"l2": 4e-4}, 1e-3, 1e-3),
        ({"l2": 4e-4}, 1e-2, 1e-3),
        ({"l2": 4e-4}, 1e-4, 1e-3),
        ({"l2": 4e-4}, 1e-3, 1e-2),
        ({"l2": 4e-4, "weight_decay": 0.1}, 1e-3, 1e-3),
        ({"moments": "dense"}, 1e-3, 1e-3),
    ],
    ids=str,
)
def test_idle_rows_follow_dense_adam_with_l2(options: dict[str, Any], scale: float, rate: float) -> None:
    rows, steps = 499, 2000
    layer, optimizer = _table(rows), SparseAdam(rate, **options)
    step = _stepper(layer, optimizer)
    decays = {name: value for name, value in options.items() if name != "moments"}
    adam, reads = DenseAdam(layer.embeddings.numpy(), **decays), []
    for ids, pull in _batches(steps, rows, size=20, scale=scale):
        reads.append((step(ids, pull), adam(ids, pull, rate)))
    optimizer.settle()
    found, expected = (np.concatenate(side) for side in zip(*reads, strict=True))
    print(options, scale, rate, _difference(found, expected), _difference(layer.embeddings.numpy(), adam.weight))
    assert _difference(found, expected) < 0.015
    assert _difference(layer.embeddings.numpy(), adam.weight) < 0.015
