"""Memories: what an export returns of an encoded history, and whether that may still be read."""

import hashlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from atrank_tf.data.affinity import unpadded
from atrank_tf.data.targets import Behaviors
from atrank_tf.models import Ranker, TimelineATRank
from atrank_tf.saved_model.preprocessor import checked_now
from atrank_tf.schema import PADDING, SECONDS, Ties
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS, history_name
from atrank_tf.types import Tensor


class Memories:
    """What the memories of a model hold beside what its encoder gives, and the checks of one that comes back.

    A memory says when it was encoded and by which weights. One of a model that reads affinity holds the whole history,
    too, by which that is counted.

    Args:
        model: a trained model.
    """

    def __init__(self, model: Ranker) -> None:
        self._schema = model.schema
        self._reads_time = isinstance(model, TimelineATRank)  # Others' memories know times relative to their moment.
        self._weights = fingerprint(model)
        self._counts = any(task.affinity for task in self._schema.tasks.values())

    def whole(self, history: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the whole histories, as a memory keeps them to count affinity by: int64 [B, H] each."""
        if not self._counts:
            return {}
        groups = list(self._schema.groups)
        found = {
            f"history_{column}": tf.concat([history[history_name(group, column)] for group in groups], axis=1)
            for column in BEHAVIOR_COLUMNS
        }
        numbers = [tf.fill(tf.shape(history[history_name(g, "id")]), np.int64(i)) for i, g in enumerate(groups)]
        return found | {"history_group": tf.concat(numbers, axis=1)}

    def whole_specs(self) -> dict[str, tf.TensorSpec]:
        """Returns the specs of what `whole` returns."""
        names = [f"history_{column}" for column in (*BEHAVIOR_COLUMNS, "group")] if self._counts else []
        return {name: tf.TensorSpec([None, None], tf.int64, name) for name in names}

    def behaviors(self, memory: Mapping[str, Tensor]) -> dict[str, Behaviors]:
        """Returns the behaviors that a memory keeps, by group."""
        found = {}
        for number, group in enumerate(self._schema.groups if self._counts else ()):
            ids = tf.where(memory["history_group"] == number, memory["history_id"], PADDING)
            found[group] = unpadded(ids, memory["history_action"], memory["history_timestamp"])
        return found

    def origin(self, now: Tensor) -> dict[str, Tensor]:
        """Returns when a memory is encoded, and by which weights, int64 [B] each."""
        return {"encoded_at": now, "weights": tf.fill(tf.shape(now), tf.constant(self._weights, tf.int64))}

    def checks(self, raw: Mapping[str, Tensor]) -> list[tf.Operation]:
        """Checks that a memory can be read now.

        One of other weights would be misread; one whose times are relative to `encoded_at` grows old.
        """
        age = checked_now(raw["now"]) - raw["encoded_at"]
        checks = [
            tf.debugging.Assert(
                tf.reduce_all(raw["weights"] == self._weights),
                ["Expected a memory that encode_user of this version made. Received weights:", raw["weights"]],
            ),
            tf.debugging.Assert(
                tf.reduce_all(age >= 0), ["Expected now not before encoded_at. Received now - encoded_at:", age]
            ),
        ]
        if not self._reads_time:
            most = SECONDS[self._schema.time.unit]
            message = f"Expected a memory encoded less than {most} seconds ago: it knows times relative to encoded_at."
            checks.append(
                tf.debugging.Assert(tf.reduce_all(age < most), [f"{message} Received now - encoded_at:", age])
            )
        return checks

    def check_newer(self, raw: Mapping[str, Tensor], history: Mapping[str, Tensor]) -> tf.Operation:
        """Checks that behaviors are newer than those in a memory.

        A behavior changes those of its own moment too, unless the log's order counts and all are of one group.
        """
        groups = self._schema.groups
        new = tf.concat([history[history_name(group, "timestamp")] for group in groups], axis=1)
        first = tf.reduce_min(tf.where(new > 0, new, tf.int64.max), axis=1)
        last = tf.reduce_max(tf.concat([raw["timestamp"], tf.zeros_like(raw["timestamp"][:, :1])], axis=1), axis=1)
        ordered = len(groups) == 1 and any(task.ties is Ties.ORDERED for task in self._schema.tasks.values())
        fits = first >= last if ordered else first > last
        message = (
            "Expected behaviors newer than those in the memory; else encode the whole. Received first new, last old:"
        )
        return tf.debugging.Assert(tf.reduce_all(fits), [message, first, last])


def int64_specs(*names: str) -> dict[str, tf.TensorSpec]:
    """Returns specs of int64 [B], by name."""
    return {name: tf.TensorSpec([None], tf.int64, name) for name in names}


def fingerprint(model: Ranker) -> int:
    """Returns a number that tells weights apart, below 2 ** 48."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).data)
    return int.from_bytes(digest.digest()[:6], "big")
