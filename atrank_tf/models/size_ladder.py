"""Few sizes instead of any: a batch padded to the rungs of a ladder."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from atrank_tf.models.inputs import candidate_names
from atrank_tf.schema import Schema

_OCTAVES = 40
LADDER = tuple(sorted({max(1, 2**octave * step // 4) for octave in range(_OCTAVES) for step in (4, 5, 6, 7)}))
"""1 to 8, then four sizes an octave: 10, 12, 14, 16, 20, 24, ... At most a fifth of a size is padding."""


def rung(count: Any) -> Any:
    """Returns the least size of the ladder that is not below a count, an integer scalar tensor."""
    ladder = tf.constant(LADDER, tf.int64)
    return tf.cast(ladder[tf.searchsorted(ladder, tf.cast(count, tf.int64)[tf.newaxis])[0]], count.dtype)


def padded(inputs: Mapping[str, Any], schema: Schema, tasks: Sequence[str]) -> dict[str, Any]:
    """Returns a batch with as many users, behaviors, moments and candidates as the ladder has.

    What is added is padding as ever, 0: behaviors and candidates without an object, and users with nothing else.

    Args:
        inputs: a batch of `training_batches` or of `timeline_batches`.
        schema: the model's schema.
        tasks: the model's tasks.
    """
    axes = {f"{group}_{column}": 2 for group in schema.groups for column in ("id", "action", "timestamp")}
    for task in tasks:
        places = len(inputs[f"{task}_candidates"].shape)
        axes |= dict.fromkeys(candidate_names(schema, task), places)
        axes |= {f"{task}/{moment}": 2 for moment in ("now", *(f"{group}_seen" for group in schema.groups))}
    return {name: _padded(values, axes.get(name, 1)) for name, values in inputs.items()}


def _padded(values: Any, axes: int) -> Any:
    """Pads the first axes, whose sizes are any; those behind are the schema's."""
    added = [rung(size) - size for size in tf.unstack(tf.shape(values))[:axes]]
    return tf.pad(values, [[0, each] for each in added] + [[0, 0]] * (len(values.shape) - axes))
