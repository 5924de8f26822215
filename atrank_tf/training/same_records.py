"""A training reads the records' files anew in every epoch: they must be those that it began with."""

from typing import Any

import keras

from atrank_tf.data import Records


class SameRecords(keras.callbacks.Callback):
    """Ends a training whose records were replaced in the epoch that ends, before anything of that epoch is kept.

    Args:
        records: what is trained and validated on.
    """

    def __init__(self, records: Records) -> None:
        super().__init__()
        self._records = records

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._records.check_unchanged()
