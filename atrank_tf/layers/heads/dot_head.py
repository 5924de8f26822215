"""Ranking by similarity."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class DotHead(keras.layers.Layer):
    """Scores by the dot product of read-out and candidate: <e_u, h_t> / sqrt(D).

    Call arguments:
        read: float [B, N, D].
        candidates: float [B, N, D].

    Returns:
        Logits, float [B, N].

    Reference:
        The authors' code of ATRank, without the scale.
    """

    def call(self, read: Any, candidates: Any) -> Any:
        return ops.sum(read * candidates, axis=-1) / (candidates.shape[-1] ** 0.5)
