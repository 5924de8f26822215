"""What may not be a negative: objects that the user chose with the target, or ever."""

from typing import NamedTuple

import tensorflow as tf

from atrank_tf.data.targets import SPAN, Chunk, Targets, first_at_least, positive_behaviors
from atrank_tf.schema import Exclude, Schema
from atrank_tf.types import Tensor


class Excluded(NamedTuple):
    """Objects that may not be negatives, as pairs of an owner and an object; P pairs.

    An owner is a user, or one moment of a user: whoever has the same owner has the same pairs.

    `keys`: int64 [P], ascending, owner * SPAN + id, each once. `moments`: int64 [V], ascending: of each behavior of the
    task's group user * SPAN + timestamp, where the owners are moments; None where they are users.
    """

    keys: Tensor
    moments: Tensor | None

    def owners(self, targets: Targets) -> Tensor:
        """Returns the owner of each target, int64 [M]: a user's index, or that of a moment's first behavior."""
        if self.moments is None:
            return targets.user
        return first_at_least(self.moments, targets.user * SPAN + targets.request_time)

    def contain(self, owners: Tensor, ids: Tensor) -> Tensor:
        """Returns which objects may not be negatives: bool [M, n], for owners [M] and ids [M, n]."""
        keys = tf.reshape(owners[:, tf.newaxis] * SPAN + ids, [-1])
        return tf.reshape(first_at_least(self.keys, keys) < first_at_least(self.keys, keys + 1), tf.shape(ids))


def excluded(chunk: Chunk, schema: Schema, task_name: str) -> Excluded:
    """Returns what may not be a negative of a task's targets in a chunk."""
    task = schema.tasks[task_name]
    group = chunk.groups[task.group]
    owner, moments = group.user, None
    if task.negatives.exclude is Exclude.SAME_MOMENT:
        moments = group.user * SPAN + group.timestamp
        owner = first_at_least(moments, moments)
    keys = tf.sort(tf.boolean_mask(owner * SPAN + group.id, positive_behaviors(chunk, schema, task_name)))
    return Excluded(tf.unique(keys).y, moments)
