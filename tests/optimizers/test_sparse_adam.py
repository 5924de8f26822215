"""SparseAdam: the rows of the batch and no others; decay for all rows; the numbers of dense Adam where it says so."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from table_steps import step_of, whole_reads

from atrank_tf.layers import SparseEmbedding
from atrank_tf.optimizers import ApplyPendingDecay, SparseAdam

pytestmark = pytest.mark.usefixtures("row_by_row")
ROWS, WIDTH = 23, 5


def _table(rows: int = ROWS, width: int = WIDTH, seed: int = 0) -> SparseEmbedding:
    layer = SparseEmbedding(rows, width, keras.initializers.RandomNormal(stddev=0.05, seed=seed))
    layer.build()
    return layer


def _stepper(layer: SparseEmbedding, optimizer: Any) -> Any:
    """`step_of`, for NumPy arrays."""
    step = step_of(layer, optimizer)
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
    # Here 1 - beta_2 is computed in float32, as beta_2^t is: 5e-5 of the second moment.
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"moments": "dense"}, {"l2": 1e-2}, {"l2": 1e-2, "weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("decays", [True, False])
def test_a_small_table_takes_the_steps_of_dense_adam_in_all_of_its_rows(options: dict[str, Any], decays: bool) -> None:
    """Also those that no batch reads; up to exactly `whole_up_to` numbers, and no longer."""
    known = {name: value for name, value in options.items() if name != "moments" and decays}
    layer, optimizer = _table(), SparseAdam(0.01, whole_up_to=ROWS * WIDTH, **options)
    layer.embeddings.decays = decays
    adam, step = DenseAdam(layer.embeddings.numpy(), **known), _stepper(layer, optimizer)
    for ids, pull in _batches(30):
        np.testing.assert_allclose(step(ids, pull), adam(ids, pull, 0.01), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(layer.embeddings.numpy(), adam.weight, rtol=1e-3, atol=1e-5)
    assert layer.embeddings.apply_pending is None
    larger, optimizer = _table(ROWS + 1), SparseAdam.from_config(optimizer.get_config())
    optimizer.build(larger.trainable_variables)
    assert larger.embeddings.apply_pending is not None


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


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"l2": 1e-3, "global_clipnorm": 0.1}], ids=str)
def test_7_a_step_reads_no_table_and_no_slot_whole(options: dict[str, float]) -> None:
    assert whole_reads(step_of(_table(), SparseAdam(0.01, **options)), ROWS) == 0
    dense = keras.layers.Embedding(ROWS, WIDTH)
    dense.build()
    assert whole_reads(step_of(dense, keras.optimizers.Adam(0.01)), ROWS) > 0


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


@pytest.mark.parametrize("moments", ["lazy", pytest.param("dense", marks=pytest.mark.slow)])
def test_decoupled_decay_reaches_every_row(moments: str) -> None:
    """Without gradients the decay stands alone, and is exact; the rate follows a schedule."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([300, 600], [0.1, 0.03, 0.01])
    layer = _table()
    optimizer = SparseAdam(schedule, weight_decay=0.02, moments=moments)
    step, adam = _stepper(layer, optimizer), DenseAdam(layer.embeddings.numpy(), weight_decay=0.02)
    for number, (ids, pull) in enumerate(_batches(1000, scale=0.0)):
        np.testing.assert_allclose(step(ids, pull), adam(ids, pull, float(schedule(number))), rtol=1e-4)
    optimizer.apply_pending()
    np.testing.assert_allclose(layer.embeddings.numpy(), adam.weight, rtol=1e-4)
    assert np.abs(adam.weight).max() < 0.1


def test_the_sum_of_decays_does_not_lose_small_steps() -> None:
    layer, optimizer = _table(), SparseAdam(1e-4, weight_decay=1e-4)
    step = _stepper(layer, optimizer)
    optimizer._clock.assign([1e7, 1e3, -20.0])
    optimizer._last_steps[0].assign(np.tile([[1e7, 1e3, -20.0]], (ROWS, 1)))
    for _ in range(100):
        step([0], np.zeros((1, WIDTH)))
    np.testing.assert_allclose(optimizer._clock.numpy()[2] + 20, 100 * np.log1p(-1e-8), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "scale", "rate"),
    [
        ({"l2": 4e-4}, 1e-3, 1e-3),
        ({"l2": 4e-4, "weight_decay": 0.1}, 1e-3, 1e-3),
        *(
            pytest.param(*values, marks=pytest.mark.slow)
            for values in (
                ({"l2": 4e-4}, 1e-2, 1e-3),
                ({"l2": 4e-4}, 1e-4, 1e-3),
                ({"l2": 4e-4}, 1e-3, 1e-2),
                ({"moments": "dense"}, 1e-3, 1e-3),
            )
        ),
    ],
    ids=str,
)
def test_unread_rows_follow_dense_adam_with_l2(options: dict[str, Any], scale: float, rate: float) -> None:
    rows, steps = 499, 2000
    layer, optimizer = _table(rows), SparseAdam(rate, **options)
    step = _stepper(layer, optimizer)
    decays = {name: value for name, value in options.items() if name != "moments"}
    adam, reads = DenseAdam(layer.embeddings.numpy(), **decays), []
    for ids, pull in _batches(steps, rows, size=20, scale=scale):
        reads.append((step(ids, pull), adam(ids, pull, rate)))
    optimizer.apply_pending()
    found, expected = (np.concatenate(side) for side in zip(*reads, strict=True))
    assert _difference(found, expected) < 0.025
    assert _difference(layer.embeddings.numpy(), adam.weight) < 0.02


def _model(**options: Any) -> keras.Model:
    """Two tables, one of them read twice, and a dense layer."""
    keras.utils.set_random_seed(0)
    history, candidate = keras.Input((3,), dtype="int32"), keras.Input((1,), dtype="int32")
    items, users = SparseEmbedding(ROWS, WIDTH, "normal"), SparseEmbedding(7, WIDTH, "normal")
    code = keras.layers.Concatenate(axis=1)([items(history), items(candidate), users(keras.ops.mod(candidate, 7))])
    model = keras.Model([history, candidate], keras.layers.Dense(1)(keras.layers.Flatten()(code)))
    model.compile(SparseAdam(keras.optimizers.schedules.CosineDecay(0.01, 60), **options), "mse")
    return model


def _data() -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, ROWS, (64, 3)), rng.integers(0, ROWS, (64, 1))], rng.normal(size=(64, 1))


DECAYS = [
    {"l2": 1e-2},
    *(
        pytest.param(options, marks=pytest.mark.slow)
        for options in ({"weight_decay": 0.1}, {"moments": "dense", "global_clipnorm": 0.1})
    ),
]
OPTIONS = [*DECAYS, pytest.param({}, marks=pytest.mark.slow)]


def _fit(model: keras.Model, epochs: int, first: int = 0, **kwargs: Any) -> Any:
    inputs, labels = _data()
    kwargs.setdefault("callbacks", [ApplyPendingDecay()])
    return model.fit(inputs, labels, 4, epochs, initial_epoch=first, shuffle=False, verbose=0, **kwargs)


def _same(model: keras.Model, other: keras.Model, rtol: float = 0.0) -> None:
    for found, expected in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_8_saved_and_loaded_in_between_gives_the_same_weights(options: dict[str, Any], tmp_path: Any) -> None:
    whole, half = _model(**options), _model(**options)
    _fit(whole, 2)
    _fit(half, 1)
    half.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == half.optimizer.get_config()
    _same(loaded, half)
    _fit(loaded, 2, first=1)
    _same(loaded, whole)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_checkpoint_with_pending_decay_goes_on_as_if_never_stopped(options: dict[str, Any], tmp_path: Any) -> None:
    """`tf.train.Checkpoint` and the package's own backup write variables as they are: they hold the clock too."""
    inputs, labels = _data()
    model, other = _model(**options), _model(**options)
    for one in (model, other):
        one.optimizer.build(one.trainable_variables)
    for _ in range(3):
        model.train_on_batch([part[:4] for part in inputs], labels[:4])
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path).assert_consumed()
    for one in (model, other):
        one.train_on_batch([part[4:] for part in inputs], labels[4:])
        one.optimizer.apply_pending()
    _same(model, other)


@pytest.mark.parametrize("l2", [pytest.param(0.0, marks=pytest.mark.slow), 1e-2])
def test_fit_gives_what_keras_embedding_regularizer_and_adam_give(l2: float) -> None:
    """The same tables after three epochs, and the same validation losses on the way."""
    losses, tables = [], []
    for dense in (False, True):
        model = _model(moments="dense", l2=l2)
        if dense:
            model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 60)), "mse")
            for layer in model.layers:
                if isinstance(layer, SparseEmbedding):
                    layer.embeddings.regularizer = keras.regularizers.L2(l2)
        history = _fit(model, 3, validation_data=_data())
        penalty = l2 * sum(np.sum(table**2) for table in model.get_weights()[:2])
        losses.append(history.history["val_loss"][-1] - dense * penalty)
        tables.append(model.get_weights()[0])
    assert _difference(tables[0], tables[1]) < 0.02
    np.testing.assert_allclose(*losses, rtol=0.02)


@pytest.mark.parametrize("options", DECAYS, ids=str)  # Without decay nothing is pending.
def test_applying_pending_decay_twice_changes_nothing(options: dict[str, Any]) -> None:
    model = _model(**options)
    _fit(model, 1)
    before = [v.numpy() for v in (*model.weights, *model.optimizer.variables)]
    model.optimizer.apply_pending()
    for old, new in zip(before, (*model.weights, *model.optimizer.variables), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_exported_after_training(options: dict[str, Any], tmp_path: Any) -> None:
    model, (inputs, _) = _model(**options), _data()
    _fit(model, 1)
    model.export(str(tmp_path / "export"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    served = loaded.serve([tf.constant(part, tf.int32) for part in inputs])
    np.testing.assert_allclose(served, model.predict(inputs, verbose=0), rtol=1e-5, atol=1e-6)


def test_float16_with_a_scaled_loss() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = _model(l2=1e-3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    before = model.get_weights()[0]
    _fit(model, 2)
    assert np.all(np.isfinite(model.get_weights()[0]))
    assert np.all(model.get_weights()[0] != before)


def test_a_table_that_the_loss_does_not_use_still_decays() -> None:
    used, unused = _table(), _table(seed=1)
    optimizer = SparseAdam(0.1, weight_decay=0.1)
    optimizer.build([used.embeddings, unused.embeddings])
    before = unused.embeddings.numpy()
    for _ in range(10):
        gradient = tf.IndexedSlices(tf.ones((1, WIDTH)), tf.constant([3]), tf.constant([ROWS, WIDTH]))
        optimizer.apply([gradient], [used.embeddings])
    optimizer.apply_pending()
    np.testing.assert_allclose(unused.embeddings.numpy(), before * 0.99**10, rtol=1e-5)


def test_a_dense_gradient_of_a_table_is_of_all_rows() -> None:
    layer, optimizer = _table(), SparseAdam(0.01)
    adam = DenseAdam(layer.embeddings.numpy())
    for _ in range(5):
        optimizer.apply([tf.ones((ROWS, WIDTH))], [layer.embeddings])
        adam(np.arange(ROWS), np.ones((ROWS, WIDTH)), 0.01)
    np.testing.assert_allclose(layer.embeddings.numpy(), adam.weight, rtol=1e-4, atol=1e-6)


def test_excluded_tables_do_not_decay() -> None:
    layer, optimizer = _table(), SparseAdam(0.1, moments="dense", weight_decay=0.1)
    optimizer.exclude_from_weight_decay([layer.embeddings])
    before, step = layer.embeddings.numpy(), _stepper(layer, optimizer)
    for _ in range(5):
        step([0], np.zeros((1, WIDTH)))
    optimizer.apply_pending()
    np.testing.assert_allclose(layer.embeddings.numpy(), before, rtol=1e-5)


@pytest.mark.parametrize("whole_up_to", [0, None])
def test_tables_without_weight_decay_keep_their_penalty(whole_up_to: int | None) -> None:
    ends = []
    for options in ({}, {"weight_decay": 0.1, "weight_decay_of": "matrices"}):
        layer, optimizer = _table(), SparseAdam(1e-3, l2=1e-2, whole_up_to=whole_up_to, **options)
        before, step = layer.embeddings.numpy(), _stepper(layer, optimizer)
        for _ in range(5):
            step([0], np.ones((1, WIDTH)))
        optimizer.apply_pending()
        ends.append(layer.embeddings.numpy())
    assert (np.abs(ends[0][1:]) < np.abs(before[1:])).all()
    np.testing.assert_array_equal(*ends)


def test_a_second_optimizer_starts_from_plain_tables() -> None:
    layer = _table()
    before, step = layer.embeddings.numpy(), _stepper(layer, SparseAdam(0.1, weight_decay=0.1))
    for _ in range(5):
        step([0], np.zeros((1, WIDTH)))
    SparseAdam().build(layer.trainable_variables)
    assert layer.embeddings.apply_pending is None
    np.testing.assert_allclose(layer.embeddings.numpy(), before * 0.99**5, rtol=1e-5)


def test_decay_needs_the_optimizer_built_before_the_first_step() -> None:
    with pytest.raises(
        RuntimeError, match=r"must be built before the first training step. Add callbacks=\[ApplyPending"
    ):
        _fit(_model(l2=1e-3), 1, callbacks=[])


def test_apply_pending_decay_needs_a_built_model() -> None:
    model = keras.Sequential([SparseEmbedding(ROWS, WIDTH)])
    model.compile(SparseAdam(l2=1e-3), "mse")
    with pytest.raises(ValueError, match="needs a built model"):
        model.fit(np.zeros((2, 1)), np.zeros((2, 1, WIDTH)), callbacks=[ApplyPendingDecay()], verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moments": "slow"}, "Expected moments="),
        ({"weight_decay_of": "tables"}, "Expected weight_decay_of="),
        ({"l2": 0.1, "moments": "lazy"}, 'needs moments="dense"'),
        ({"l2": -0.1}, "l2 must be at least 0. Received: l2=-0.1"),
        ({"weight_decay": float("nan")}, "weight_decay must be at least 0"),
        ({"use_ema": True}, "SparseAdam has no use_ema"),
        ({"gradient_accumulation_steps": 2}, "SparseAdam has no gradient_accumulation_steps"),
        ({"loss_scale_factor": 2.0}, "SparseAdam has no loss_scale_factor"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparseAdam(**options)
