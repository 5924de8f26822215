"""The mean of the weights at the ends of epochs: where it is seen, and that training knows nothing of it."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.layers import SparseEmbedding
from atrank_tf.optimizers import ApplyPendingDecay, SparseAdam
from atrank_tf.training import AverageWeights, Backup, BestCheckpoint

ROWS, EPOCHS = 6, 4
IDS = np.array([[0], [1], [2], [1]])
LABELS = np.array([[1.0], [0.0], [1.0], [1.0]], "float32")


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes the weights in the model in validation and after each epoch, and those of training."""

    def __init__(self, average: AverageWeights) -> None:
        super().__init__()
        self.average = average
        self.validated: list[Any] = []
        self.shown: list[Any] = []
        self.trained: list[Any] = []

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.validated.append(_weights(self.model))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.shown.append(_weights(self.model))
        with self.average.put_aside():
            self.trained.append(_weights(self.model))


class Checkpoint(BestCheckpoint):
    """Keeps the model of each epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch)  # Without a validation.


def _weights(model: Any) -> list[Any]:
    return [value.copy() for value in model.get_weights()]


def _model() -> Any:
    """A table of which half is never read, and its penalty; one matrix."""
    keras.utils.clear_session(free_memory=False)  # To collect all garbage takes up to a second.
    keras.utils.set_random_seed(1)
    ids = keras.Input((1,), dtype="int64")
    rows = keras.layers.Flatten()(SparseEmbedding(ROWS, 3, name="table")(ids))
    model = keras.Model(ids, keras.layers.Dense(1, name="logit")(rows))
    # Of few steps: to trace them takes longer.
    model.compile(SparseAdam(0.1, l2=1e-2, whole_up_to=0), "mse", run_eagerly=True)
    return model


def _fit(
    model: Any, average: AverageWeights, *callbacks: Any, epochs: int = EPOCHS, done: int = 0, validate: bool = True
) -> Watch:
    watch = Watch(average)
    model.fit(
        IDS,
        LABELS,
        batch_size=2,
        shuffle=False,
        validation_data=(IDS, LABELS) if validate else None,
        validation_batch_size=4,
        epochs=epochs,
        initial_epoch=done,
        callbacks=[ApplyPendingDecay(), average, *callbacks, watch],
        verbose=0,
    )
    return watch


def _assert_equal(found: list[Any], expected: list[Any], **tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, **({"rtol": 0, "atol": 0} | tolerance))


def _flat(epochs: list[Any]) -> list[Any]:
    return [value for weights in epochs for value in weights]


def _mean(epochs: list[Any]) -> list[Any]:
    return [np.mean(values, axis=0) for values in zip(*epochs, strict=True)]


@pytest.fixture(scope="module")
def plain() -> Watch:
    """A training without averaging."""
    return _fit(_model(), AverageWeights())


@pytest.mark.parametrize(
    ("first", "validate"),
    [
        (1, True),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in ((0, True), (1, False), (EPOCHS - 1, True), (EPOCHS, True), (None, True))
        ),
    ],
)
def test_the_model_holds_the_mean_of_the_ends_of_epochs_but_in_training(
    first: int | None, validate: bool, plain: Watch
) -> None:
    model = _model()
    watch = _fit(model, AverageWeights(first), validate=validate)
    _assert_equal(_flat(watch.trained), _flat(plain.trained))  # Training goes on from its own weights.
    for epoch, found in enumerate(watch.shown):
        begin = epoch if first is None or epoch < first else first
        _assert_equal(found, _mean(plain.trained[begin : epoch + 1]), atol=1e-6)
    if validate:
        _assert_equal(_flat(watch.validated), _flat(watch.shown))
    _assert_equal(_weights(model), watch.shown[-1])


def test_without_averaging_there_is_no_copy_of_the_weights() -> None:
    average = AverageWeights()
    _fit(_model(), average)
    assert average.means == []


def test_the_mean_is_what_a_checkpoint_keeps(tmp_path: Path) -> None:
    watch = _fit(_model(), AverageWeights(1), Checkpoint(str(tmp_path / "model.keras"), {}))
    kept = keras.saving.load_model(tmp_path / "model.keras").get_weights()
    _assert_equal(kept, _mean(watch.trained[1:]), atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(kept, watch.trained[-1], strict=True)) > 1e-2


@pytest.mark.parametrize("done", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_8_a_mean_goes_on_where_it_stopped(done: int, tmp_path: Path) -> None:
    def of(model: Any) -> tuple[AverageWeights, Backup]:
        average = AverageWeights(1)
        average.set_model(model)
        return average, Backup(str(tmp_path / "backup.npz"), Checkpoint(str(tmp_path / "model.keras"), {}), average)

    whole = _fit(_model(), AverageWeights(1))
    model = _model()
    _fit(model, *of(model), epochs=done)
    again = _model()
    average, backup = of(again)
    assert backup.restore(again) == done
    watch = _fit(again, average, backup, done=done)
    _assert_equal(_flat(watch.shown), _flat(whole.shown[done:]))
    _assert_equal(_flat(watch.trained), _flat(whole.trained[done:]))


def test_what_an_interrupted_validation_left_is_put_right_before_the_next_epoch() -> None:
    class Stop(keras.callbacks.Callback):  # type: ignore[misc]
        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            raise InterruptedError

    average, model, whole = AverageWeights(0), _model(), _fit(_model(), AverageWeights(0))
    _fit(model, average, epochs=2)
    with pytest.raises(InterruptedError):
        _fit(model, average, Stop(), epochs=3, done=2)
    watch = _fit(model, average, done=3)
    _assert_equal(watch.trained[-1], whole.trained[-1])
    _assert_equal(watch.shown[-1], whole.shown[-1], atol=1e-6)


def test_another_model_has_a_mean_of_its_own() -> None:
    average = AverageWeights(1)
    _fit(_model(), average)
    watch, whole = _fit(_model(), average), _fit(_model(), AverageWeights(1))
    _assert_equal(_flat(watch.shown), _flat(whole.shown))


class _WithNothing(keras.layers.Dense):  # type: ignore[misc]
    """Has a weight without elements, as time biases have where all times are one bucket."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.nothing = self.add_weight(shape=(0, 4), name="nothing")


def test_weights_without_elements_do_not_end_a_training() -> None:
    model = keras.Sequential([keras.Input((3,)), _WithNothing(2, kernel_initializer="zeros", use_bias=False)])
    average = AverageWeights(0)
    average.set_model(model)
    model.layers[0].kernel.assign(np.ones((3, 2)))
    average.on_epoch_begin(1)  # The second epoch; the end of the first was 0.
    average.on_epoch_end(1)
    np.testing.assert_allclose(model.layers[0].kernel.numpy(), 0.5)
