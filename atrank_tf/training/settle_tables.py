"""Tables as plain tables whenever somebody else than training reads them."""

from typing import Any

import keras


class SettleTables(keras.callbacks.Callback):
    """Settles all rows of all tables before each validation, at the end of each epoch, and at the end of training.

    For `SparseAdam` and `SparseAdagrad` with decay, whose rows are behind until they are read. It also builds the
    optimizer before the first step, as they need it. Put it before callbacks that save or read weights by themselves.
    (`model.save` and checkpoints of it settle by themselves.) For other optimizers it does nothing.

    Settling costs a pass over the rows that are behind: about what a step of dense Adam costs.
    """

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Builds the optimizer.

        Raises:
            ValueError: the model has no weights yet.
        """
        if not self.model.built:
            raise ValueError(
                f"SettleTables needs a built model: call it on a batch once, or build it. Received: {self.model.name}."
            )
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._settle()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._settle()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._settle()

    def _settle(self) -> None:
        for variable in self.model.trainable_variables:
            settle: Any = getattr(variable, "settle", None)
            if settle is not None:
                settle()
