"""How long XLA compiles in a training."""

import time
from typing import Any

import keras


class XlaTime(keras.callbacks.Callback):
    """Adds to the logs of an epoch, and so to what is printed and kept, what XLA has compiled.

    `xla_functions`: functions of the dense core, each counted once for each set of sizes. `xla_seconds`: of this
    training's steps in which something was compiled, the steps themselves and TensorFlow's tracing included.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seconds, self._functions, self._start = 0.0, 0, 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._functions = self.model.xla_functions

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._start = time.perf_counter()

    def logs(self) -> dict[str, float]:
        """Returns both numbers; nothing where XLA does not compile the model."""
        return {"xla_functions": self._functions, "xla_seconds": self._seconds} if self.model.xla else {}

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.model.xla_functions > self._functions:
            self._functions = self.model.xla_functions
            self._seconds += time.perf_counter() - self._start

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs.update(self.logs())
