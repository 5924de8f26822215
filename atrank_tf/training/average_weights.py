"""Averages the weights at the ends of epochs, for validation and for files."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


class AverageWeights(keras.callbacks.Callback):
    """Stochastic weight averaging: validation sees the mean of the trainable weights at the ends of epochs.

    From each validation to the beginning of the next epoch, and after the last one, the model holds the mean: so all
    that other callbacks read at the end of an epoch is what was validated. Training itself goes on from its own
    weights; they wander around the mean, which is often better than any of them.

    It costs no step anything: an epoch five passes over all weights, and the memory of one more copy.

    Tables must have no pending decay: put it after `ApplyPendingDecay`.

    Args:
        first: the first epoch whose end counts, from 0; None for no averaging.

    Attributes:
        means: a variable for each trainable variable of the model; none without averaging. While the model holds the
            mean, the weights of training are in them.

    Reference:
        Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (arXiv 1803.05407).
    """

    def __init__(self, first: int | None = None) -> None:
        super().__init__()
        self.first = first
        self.means: list[Any] = []
        self._number = 0  # Of ends of epochs in the mean, that of this epoch too.
        self._due = False
        self._shown = False  # Whether the model holds the mean.

    def set_model(self, model: Any) -> None:
        if self.first is not None and self.model is not model:
            self.means = [_copy(variable) for variable in model.trainable_variables]
            self._shown = False
        super().set_model(model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._shown:
            self._swap()
        self._number = 0 if self.first is None else max(0, epoch - self.first + 1)
        self._due = self._number > 0

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._show()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._show()  # Where there is no validation.

    @contextmanager
    def put_aside(self) -> Iterator[None]:
        """Has the weights of training in the model, for the length of the block."""
        shown = self._shown
        if shown:
            self._swap()
        try:
            yield
        finally:
            if shown:
                self._swap()

    def _show(self) -> None:
        if self._due:
            for variable, mean in zip(self.model.trainable_variables, self.means, strict=True):
                # Not by `assign_add`: Keras takes a sum of two arrays of shape [0, n] for one with a bias, and fails.
                mean.assign(mean.value + (variable.value - mean.value) / self._number)
            self._due = False
            self._swap()

    def _swap(self) -> None:
        for variable, mean in zip(self.model.trainable_variables, self.means, strict=True):
            value = keras.ops.copy(variable.value)
            variable.assign(mean.value)
            mean.assign(value)
        self._shown = not self._shown


def _copy(variable: Any) -> Any:
    name = f"{variable.path.replace('/', '_')}_mean"
    return keras.Variable(
        keras.ops.copy(variable.value), trainable=False, dtype=variable.dtype, autocast=False, name=name
    )
