"""Dropout of units, by random numbers that cost little, and of ids."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class Dropout(keras.layers.Layer):
    """Sets a share of the units to 0 in training and scales the others, as `keras.layers.Dropout` does.

    One hash of a counter decides about four units, by 8 bits each. Philox, which TensorFlow draws from, took a tenth of
    a training step. The share is rounded to a 256th, and units are scaled by the rounded one, so that the expected
    output is the input.

    Args:
        rate: share of the units that training drops, at least 0 and below 1.
        seed: of the random numbers; None draws one, which `keras.utils.set_random_seed` settles. Defaults to None.

    Call arguments:
        inputs: float, of any shape.
        training: whether to drop.

    Returns:
        The shape and dtype of `inputs`.

    Reference:
        Srivastava et al., JMLR 2014. The hash is the finalizer of MurmurHash3.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1. Received: rate={rate}.")
        self.rate = rate
        self.seed = seed
        self.supports_masking = True
        self._dropped = round(rate * 256)  # of 256
        if self._dropped:
            # Seeds that a person names are near each other, and so would be what two layers drop.
            spread = None if seed is None else int(np.random.SeedSequence(seed).generate_state(1)[0]) >> 1
            self.seed_generator = keras.random.SeedGenerator(spread)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not training or not self._dropped:
            return inputs
        if self._dropped == 256:
            return tf.zeros_like(inputs)
        # One product, forward and backward.
        return inputs * (tf.cast(self.kept(inputs), inputs.dtype) * (256.0 / (256 - self._dropped)))

    def kept(self, inputs: Tensor) -> Tensor:
        """Returns which units this call keeps, bool of the shape of `inputs`."""
        if self._dropped == 256:
            return tf.zeros_like(inputs, tf.bool)
        seed = tf.cast(self.seed_generator.next(), tf.uint32)
        return tf.reshape(_bytes(tf.size(inputs), seed) >= self._dropped, tf.shape(inputs))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def compute_output_spec(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rate": self.rate, "seed": self.seed}


def _bytes(count: Tensor, seed: Tensor) -> Tensor:
    """Returns `count` evenly distributed numbers, uint8, that depend on a seed, uint32 [2]."""
    words = tf.range((count + 3) // 4)
    state = tf.bitcast(words, tf.uint32) * (seed[0] | 1) + seed[1]
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = (state ^ tf.bitwise.right_shift(state, tf.constant(shift, tf.uint32))) * tf.constant(factor, tf.uint32)
    state ^= tf.bitwise.right_shift(state, tf.constant(16, tf.uint32))
    return tf.reshape(tf.bitcast(state, tf.uint8), [-1])[:count]


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
