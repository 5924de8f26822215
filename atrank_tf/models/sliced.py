"""A batch cut into slices of users, each computed by itself."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from keras import ops


def sliced(call: Callable[[Any], Mapping[str, Any]], inputs: Mapping[str, Any], slices: int) -> dict[str, Any]:
    """Returns what `call` returns of the whole batch, computed slice by slice.

    The slices do not wait for each other, so that each may have a core of its own: the operations of a step are many
    and small, and two cores that share each of them are not twice as fast as one.

    Args:
        call: dict of tensors -> dict of tensors; all have the users of the batch, B, as their first dimension.
        inputs: the batch.
        slices: how many.
    """
    users = tf.shape(next(iter(inputs.values())))[0]
    found: dict[str, list[Any]] = {}
    for number in range(slices):
        start, end = users * number // slices, users * (number + 1) // slices
        # Not every operation takes a slice of no users, of which there are some where B is less than `slices`.
        taken = ops.maximum(end, start + 1)
        for name, values in call({name: values[start:taken] for name, values in inputs.items()}).items():
            found.setdefault(name, []).append(values[: end - start])
    return {name: ops.concatenate(values) for name, values in found.items()}
