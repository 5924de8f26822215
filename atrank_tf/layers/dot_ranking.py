"""Ranking by similarity."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.linear import take


@keras.saving.register_keras_serializable(package="atrank_tf")
class DotRanking(keras.layers.Layer):
    """Scores by the dot product of read-out and candidate: <e_u, h_t> / sqrt(D).

    Call arguments:
        read: float [B, N, D].
        candidates: float [B, N, D]; with `places`, [U, D].
        places: int [B, N], which row of `candidates` each candidate is; None for candidates as they stand.

    Returns:
        Logits, float [B, N].

    Reference:
        The authors' code of ATRank, without the scale.
    """

    def call(self, read: Any, candidates: Any, places: Any = None) -> Any:
        return ops.sum(read * take(candidates, places), axis=-1) / (candidates.shape[-1] ** 0.5)
