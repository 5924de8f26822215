"""Divided tables, whole on the chief while it reads and writes files."""

from typing import Any

import keras

from atrank_tf.training.average_weights import AverageWeights


class WholeTables(keras.callbacks.Callback):
    """Puts the rows of all workers together on the chief at the end of each epoch, for the callbacks after it.

    And gives each worker its rows of what the chief has read, before the first epoch. So files know nothing of workers.

    The chief's host needs memory for all divided tables, with their slots. Without divided tables it does nothing.

    Args:
        average: whose means of divided tables are put together, too.
    """

    def __init__(self, average: AverageWeights) -> None:
        super().__init__()
        self.average = average

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        for variable in self._divided():
            divided: Any = variable.divided
            if divided.workers.chief_says(lambda divided=divided: divided.whole is not None):
                divided.spread(variable, divided.whole)
        self._let_go()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._let_go()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for variable in self._divided():
            variable.divided.collect(variable)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._let_go()

    def _let_go(self) -> None:
        for variable in self._divided():
            variable.divided.whole = None

    def _divided(self) -> list[Any]:
        variables = [*self.model.variables, *self.model.optimizer.variables, *self.average.means]
        return [variable for variable in variables if getattr(variable, "divided", None) is not None]
