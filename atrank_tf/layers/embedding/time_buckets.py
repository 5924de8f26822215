"""Time gaps -> buckets."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class TimeBuckets(keras.layers.Layer):
    """Buckets the gap between the request and each behavior: ATRank's bucket_i(time_j).

    The buckets double: [0, 1) [1, 2) [2, 4) [4, 8) ... units, the last one open. A gap of less than one unit has
    bucket 0 to itself; a behavior after `now` counts as one at `now`.

    Args:
        boundaries: lower ends of the buckets 1, 2, ... in seconds, ascending whole numbers.

    Call arguments:
        now: int64 [B], Unix seconds.
        timestamp: int64 [B, T], Unix seconds.

    Returns:
        int32 [B, T], in 0..len(boundaries).

    Reference:
        ATRank (arXiv 1711.06632), section "Temporal encoding"; bucket 0 and the open end are this package's.
    """

    def __init__(self, boundaries: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.boundaries = tuple(int(boundary) for boundary in boundaries)
        if list(self.boundaries) != sorted(set(self.boundaries)) or any(edge <= 0 for edge in self.boundaries):
            raise ValueError(f"Expected ascending boundaries above 0. Received: boundaries={self.boundaries}.")

    def call(self, now: Any, timestamp: Any) -> Any:
        gap = ops.cast(ops.expand_dims(now, -1) - timestamp, "int64")
        # Whole numbers throughout: seconds since 1970 do not fit a float32.
        reached = ops.expand_dims(gap, -1) >= ops.convert_to_tensor(self.boundaries, dtype="int64")
        return ops.sum(ops.cast(reached, "int32"), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"boundaries": self.boundaries}
