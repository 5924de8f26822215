"""What a user did with the very candidate before: the part of a memory that `RepeatRanking` reads."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import keras
from keras import ops

from atrank_tf.layers import RepeatRanking
from atrank_tf.models.inputs import group_numbers, side_by_side
from atrank_tf.schema import FIRST_ROW, Schema

NO_OBJECT = -1
"""In place of a candidate that is padding or unknown: nobody acted on it."""


class DoneBefore:
    """Keeps objects and actions beside the encoded behaviors, and scores by them.

    A memory then has `object`, `action` and `timestamp` too, int64 [B, T]. Objects and actions are numbered through all
    groups, so that the behaviors of all groups stand side by side; object 0 is padding, or unknown.

    Args:
        schema: a prepared schema.
        tasks: the model's tasks.
    """

    def __init__(self, schema: Schema, tasks: Sequence[str]) -> None:
        groups = schema.groups.values()
        self._groups = tuple(schema.groups)
        self._first_object = [0, *accumulate(schema.entities[group.entity].rows for group in groups)]
        self._first_action = [0, *accumulate(FIRST_ROW + len(group.actions) for group in groups)]
        self._group_of = {task: self._groups.index(schema.tasks[task].group) for task in tasks}
        self._layers = {
            task: RepeatRanking(schema.time.boundaries, self._actions(task), name=f"repeat_ranking_{task}")
            for task in tasks
        }

    def memory_inputs(self) -> dict[str, Any]:
        """Returns the inputs through which this part of a memory comes back, and `now`."""
        names = ("object", "action", "timestamp")
        inputs = {name: keras.Input((None,), dtype="int64", name=name) for name in names}
        return inputs | {"now": keras.Input((), dtype="int64", name="now")}

    def remember(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns this part of the memory of the histories in a model's inputs."""
        ids, actions, timestamp = (side_by_side(inputs, self._groups, name) for name in ("id", "action", "timestamp"))
        return self.numbered(ids, actions, group_numbers(inputs, self._groups)) | {"timestamp": timestamp}

    def numbered(self, ids: Any, actions: Any, group: Any) -> dict[str, Any]:
        """Returns `object` and `action` of behaviors; `ids`, `actions`, `group`: int64 [B, T]."""
        first_object, first_action = (
            ops.take(ops.convert_to_tensor(firsts[:-1], "int64"), group, axis=0)
            for firsts in (self._first_object, self._first_action)
        )
        return {"object": ops.where(ids >= FIRST_ROW, ids + first_object, 0), "action": actions + first_action}

    def logits(self, task: str, memory: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        """Returns logits of the candidates of one moment, float [B, N]."""
        seen = ops.not_equal(memory["object"], 0)[:, None]
        candidates = inputs[f"{task}_candidates"][:, None]
        return self.of_moments(task, candidates, memory, seen, inputs["now"][:, None])[:, 0]

    def of_moments(self, task: str, candidates: Any, memory: Mapping[str, Any], seen: Any, now: Any) -> Any:
        """Returns logits, float [B, P, N], of the candidates [B, P, N] of moments [B, P] that see [B, P, T]."""
        group = self._group_of[task]
        objects = ops.where(candidates >= FIRST_ROW, candidates + self._first_object[group], NO_OBJECT)
        # No behavior of another group is on any of these, whichever action it is taken for.
        actions = ops.clip(memory["action"] - self._first_action[group], 0, self._actions(task) - 1)
        return self._layers[task](objects, memory["object"], actions, seen, now, memory["timestamp"])

    def _actions(self, task: str) -> int:
        group = self._group_of[task]
        return self._first_action[group + 1] - self._first_action[group]
