"""The hour and the weekday of a request, as vectors."""

from typing import Any

import keras
import numpy as np
from keras import ops

from atrank_tf.types import Tensor

_HOURS, _DAYS = 24, 7
_PARTS = np.repeat(np.eye(2, dtype=np.float32), (_HOURS, _DAYS), axis=0)
"""Which of the rows are hours, and which are weekdays, [31, 2]."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class CalendarEmbedding(keras.layers.Layer):
    """Embeds the hour of the day and the day of the week: by how much each differs from the mean of its kind.

    Rough sketch:
        out = c[hour] + c[weekday],   c[i] = v[i] - sum_j share_j v[j];   c[i] = 0 if share_i = 0

    with j over all hours, or all weekdays, and share_j how many of the training's requests came then. So an hour at
    which training never asked is as the mean; and a log whose times are whole days, all of hour 0, learns nothing of
    hours that requests at 15:00 would lack. All v start at 0. Hours and days are those of UTC.

    Shares are weights that no training changes: equal until `load` fills them or a saved model is read.

    Args:
        output_dim: D.

    Call arguments:
        now: int64 [...], Unix seconds.

    Returns:
        float [..., D].
    """

    def __init__(self, output_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_dim = output_dim

    def build(self, *_: Any) -> None:
        rows = _HOURS + _DAYS
        self.vectors = self.add_weight(name="vectors", shape=(rows, self.output_dim), initializer="zeros")
        self.shares = self.add_weight(name="shares", shape=(rows,), initializer=_equal, trainable=False)

    def load(self, requests: np.ndarray) -> None:
        """Fills the shares.

        Args:
            requests: int64 [168], how many came in each hour of the week, from Thursday 0:00 on, as Unix time begins.

        Raises:
            ValueError: the shape is another.
        """
        if requests.shape != (_HOURS * _DAYS,):
            raise ValueError(
                f"Expected the number of requests in each of {_HOURS * _DAYS} hours of the week. Received: shape "
                f"{requests.shape}."
            )
        by_day = requests.reshape(_DAYS, _HOURS) / max(requests.sum(), 1)
        self.shares.assign(np.concatenate([by_day.sum(axis=0), by_day.sum(axis=1)]))

    def call(self, now: Tensor) -> Tensor:
        vectors, shares = ops.convert_to_tensor(self.vectors), ops.convert_to_tensor(self.shares)[:, None]
        parts = ops.convert_to_tensor(_PARTS, self.compute_dtype)
        means = ops.matmul(ops.transpose(parts * shares), vectors)  # [2, D]
        centered = ops.where(shares > 0, vectors - ops.matmul(parts, means), ops.zeros_like(vectors))
        hour, day = now // 3600 % _HOURS, _HOURS + now // 86_400 % _DAYS
        rows = sum(ops.one_hot(each, _HOURS + _DAYS, dtype=self.compute_dtype) for each in (hour, day))
        return ops.matmul(rows, centered)

    def compute_output_spec(self, now: Tensor) -> Any:
        return keras.KerasTensor((*now.shape, self.output_dim), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"output_dim": self.output_dim}


def _equal(shape: Any, dtype: Any = None) -> Tensor:
    """Returns equal shares of all hours, and of all weekdays."""
    return ops.cast((_PARTS / _PARTS.sum(axis=0)).sum(axis=1), dtype)
