"""Applies pending decay before validation and saving."""

from collections.abc import Iterable
from typing import Any

import keras


class ApplyPendingDecay(keras.callbacks.Callback):
    """Applies pending decay before each validation, at the end of each epoch, and at the end of `fit`.

    For `SparseAdam` and `SparseAdagrad` with decay, which defer the decay of a row until a batch reads it. It also
    builds the optimizer before the first step, as they need it. Put it before callbacks that read or save weights by
    themselves (`model.save` applies pending decay anyway). For other optimizers it does nothing.

    It costs a pass over the rows with pending decay: about what a step of dense Adam costs.
    """

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Builds the optimizer.

        Raises:
            ValueError: the model has no weights yet.
        """
        if not self.model.built:
            raise ValueError(
                "ApplyPendingDecay needs a built model: call it on a batch once, or build it. Received: "
                f"{self.model.name}."
            )
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        apply_pending(self.model.trainable_variables)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        apply_pending(self.model.trainable_variables)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        apply_pending(self.model.trainable_variables)


def apply_pending(variables: Iterable[Any]) -> None:
    """Applies the pending decay of those variables that have some; pass `model.trainable_variables`."""
    for variable in variables:
        if getattr(variable, "apply_pending", None) is not None:
            variable.apply_pending()
