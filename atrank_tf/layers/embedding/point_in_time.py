"""Marks objects whose ids were not known yet at a moment of the training."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class PointInTime(keras.layers.Layer):
    """Marks, in training, the objects whose ids were not known yet: they become negative.

    Rough sketch:
        marked(o, t) = o if known_from(o) < t else -o

    A vocabulary is made of the whole training data, so at an earlier moment it knows ids by what came later. Where ids
    are used a few times, a model then learns that what is known is what will be chosen, which no server can tell. Times
    are weights that no training changes; 0, so that all is known, until `load` fills them or a saved model is read.

    Args:
        num_objects: rows of the catalog, padding and unknown included.

    Call arguments:
        objects: int64 [...], catalog rows.
        times: int64, Unix seconds, of a shape that broadcasts to that of `objects`.
        training: whether to mark.

    Returns:
        The shape and dtype of `objects`.

    Raises:
        ValueError: `num_objects` is not positive.

    Reference:
        Point-in-time correctness, as feature stores have it, of vocabularies; Ji et al., "A Critical Study on Data
        Leakage in Recommender System Offline Evaluation" (arXiv 2010.11060).
    """

    def __init__(self, num_objects: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_objects <= 0:
            raise ValueError(f"num_objects must be positive. Received: num_objects={num_objects}.")
        self.num_objects = num_objects
        self.known_from = self.add_weight(
            name="known_from",
            shape=(num_objects,),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def load(self, known_from: np.ndarray) -> None:
        """Fills the times.

        Args:
            known_from: int64 [num_objects], Unix seconds.

        Raises:
            ValueError: the shape is not the layer's.
        """
        if known_from.shape != (self.num_objects,):
            raise ValueError(
                f"Expected times of shape {(self.num_objects,)}, one for each object. Received: {known_from.shape}."
            )
        self.known_from.assign(known_from)

    def call(self, objects: Tensor, times: Tensor, training: bool | None = None) -> Tensor:
        if not training:
            return objects
        return ops.where(tf.gather(self.known_from.value, objects) < times, objects, -objects)

    def compute_output_shape(self, objects_shape: Shape, *_: Any) -> Shape:
        return objects_shape

    def compute_output_spec(self, objects: Tensor, times: Tensor, training: bool | None = None) -> Tensor:
        del times, training
        return keras.KerasTensor(objects.shape, dtype=objects.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"num_objects": self.num_objects}
