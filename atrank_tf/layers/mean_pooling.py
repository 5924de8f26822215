"""Several vectors -> their mean."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class MeanPooling(keras.layers.Layer):
    """Averages the embeddings of a multi-valued feature, or of a history, over the real ones; none gives zeros.

    Call arguments:
        embeddings: float [..., values, D].
        value_mask: bool [..., values], True = real.

    Returns:
        float [..., D].
    """

    def call(self, embeddings: Any, value_mask: Any) -> Any:
        real = ops.cast(value_mask, embeddings.dtype)
        total = ops.sum(embeddings * real[..., None], axis=-2)
        return total / ops.maximum(ops.sum(real, axis=-1, keepdims=True), 1.0)
