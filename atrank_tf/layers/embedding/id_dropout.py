"""Dropout of ids: training takes some objects for unknown."""

from typing import Any

import keras
import tensorflow as tf

from atrank_tf.layers.dropout import Dropout
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class IdDropout(Dropout):
    """Replaces a share of ids, in training, by the id of what is unknown.

    So the embedding of unknown is trained, and the side features beside the id are trained to do without it: an object
    that is new when the model is served is ranked by them. Ids of few behaviors are fitted less closely, too.

    Args:
        rate: share of the ids that training replaces, at least 0 and below 1; rounded to a 256th.
        unknown: the id of what is unknown. Ids below it, padding among them, stay.
        seed: of the random numbers; None draws one, which `keras.utils.set_random_seed` settles. Defaults to None.

    Call arguments:
        inputs: int, of any shape.
        training: whether to replace.

    Returns:
        The shape and dtype of `inputs`.

    Reference:
        Word dropout (Iyyer et al., ACL 2015) and replacing words by the unknown one (Kiperwasser and Goldberg, TACL
        2016), of ids; DropoutNet (Volkovs et al., NeurIPS 2017) for what it does for new objects.
    """

    def __init__(self, rate: float, unknown: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, seed, **kwargs)
        self.unknown = unknown

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not training or not self._dropped:
            return inputs
        unknown = tf.constant(self.unknown, inputs.dtype)
        return tf.where(self.kept(inputs) | (inputs < unknown), inputs, unknown)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"unknown": self.unknown}
