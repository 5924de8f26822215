"""Numbers of a candidate beside those of the others in its list."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.types import Shape, Tensor

_FAR = 1e9
"""Farther than any number that is compared."""
_NO_SPREAD = 0.05
"""Far below it, all numbers of a list are about equal: what differs then may be but rounding."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class ListComparison(keras.layers.Layer):
    """Compares each number of a candidate with its list: how many are larger, how many smaller, how far is the mean.

    Rough sketch:
        found = [1 / (1 + larger), 1 / (1 + smaller), x - mean, (x - mean) / (standard deviation + 0.05)]

    `larger` and `smaller` are how many real candidates of the list have a larger or a smaller number: so the cheapest
    has 1, the second 1/2. Which order candidates come in makes no difference, and padding none.

    Call arguments:
        numbers: float [..., N, F], of N candidates, none of them NaN.
        candidate_mask: bool [..., N], True = real.

    Returns:
        float [..., N, 4 F] in the compute dtype; 0 at padding.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, numbers: Tensor, candidate_mask: Tensor) -> Tensor:
        numbers, real = ops.cast(numbers, "float32"), ops.cast(candidate_mask, "float32")[..., None]
        count = ops.maximum(ops.sum(real, axis=-2, keepdims=True), 1.0)
        mean = ops.sum(numbers * real, axis=-2, keepdims=True) / count
        apart = (numbers - mean) * real
        deviation = ops.sqrt(ops.sum(apart * apart, axis=-2, keepdims=True) / count)
        larger, smaller = (_smaller(sign * numbers, candidate_mask) for sign in (-1.0, 1.0))
        found = [1.0 / (1.0 + larger), 1.0 / (1.0 + smaller), apart, apart / (deviation + _NO_SPREAD)]
        found = ops.concatenate(found, axis=-1)
        return ops.cast(ops.where(candidate_mask[..., None], found, 0.0), self.compute_dtype)

    def compute_output_shape(self, numbers_shape: Shape, *_: Any) -> Shape:
        return (*numbers_shape[:-1], 4 * numbers_shape[-1])


@keras.saving.register_keras_serializable(package="atrank_tf")
class ListDistance(keras.layers.Layer):
    """Computes how many positions each candidate is below the one of its list that the user did something with last.

    Args:
        most: most places, above and below, that are told apart; what is farther counts as so far.

    Call arguments:
        position: float [..., N], from the top.
        last: float [..., N], the larger, the later the user did something with a candidate; 0 for never.

    Returns:
        float [..., N, 2 most + 1] in the compute dtype, one-hot: from `most` places above to `most` below. All 0 in a
        list of which nothing has a `last` above 0, and where the position is NaN.
    """

    def __init__(self, most: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.most = most

    def call(self, position: Tensor, last: Tensor) -> Tensor:
        # One that is none behind the others: there are requests without candidates.
        one_more = [(0, 0)] * (len(last.shape) - 1) + [(0, 1)]
        newest = tf.argmax(ops.pad(last, one_more), axis=-1)[..., None]
        of_newest = tf.gather(ops.pad(position, one_more), newest, axis=-1, batch_dims=len(last.shape) - 1)
        apart = tf.clip_by_value(tf.round(position - of_newest), -self.most, self.most)
        known = ops.any(last > 0, axis=-1, keepdims=True) & ~ops.isnan(apart)
        place = tf.where(known, tf.cast(tf.where(known, apart, 0.0), tf.int32) + self.most, -1)
        return tf.one_hot(place, 2 * self.most + 1, dtype=self.compute_dtype)

    def compute_output_shape(self, position_shape: Shape, *_: Any) -> Shape:
        return (*position_shape, 2 * self.most + 1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"most": self.most}


def _smaller(numbers: Tensor, mask: Tensor) -> Tensor:
    """Returns how many real candidates of its list have a smaller number: float [..., N, F]."""
    numbers = tf.linalg.matrix_transpose(ops.where(mask[..., None], numbers, _FAR))  # [..., F, N]
    shape = tf.shape(numbers)
    flat = tf.reshape(numbers, [-1, shape[-1]])
    places = tf.reshape(tf.searchsorted(tf.sort(flat, axis=-1), flat), shape)
    return tf.cast(tf.linalg.matrix_transpose(places), numbers.dtype)
