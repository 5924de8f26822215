"""Callbacks that end a training, as a kill would."""

from typing import Any

import keras


class Stop(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the training within an epoch, or in a callback at its end, as a kill would."""

    def __init__(self, epoch: int, *, at_end: bool) -> None:
        super().__init__()
        self.epoch = epoch
        self.at_end = at_end
        self.epochs: list[int] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.epochs[-1] == self.epoch and batch == 2 and not self.at_end:
            raise InterruptedError

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise InterruptedError


class BeforeTraining(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the training before its first step, which would have to be traced.

    Keeps the model as it then is, and how many steps an epoch would have had.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        self.begun, self.steps = self.model, self.params["steps"]
        raise InterruptedError
