"""Logits of repeats: what a user did with the candidate itself before."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import keras
from keras import ops

from atrank_tf.layers import RepeatHead
from atrank_tf.models.inputs import group_numbers, side_by_side
from atrank_tf.schema import FIRST_ROW, Schema
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS, candidates_name
from atrank_tf.types import Tensor

NO_OBJECT = -1
"""In place of a candidate that is padding or unknown: no behavior is on it."""


class Repeats:
    """Keeps objects and actions in the memory, and scores candidates by them with a `RepeatHead` for each task.

    A memory then has `object`, `action` and `timestamp` too, int64 [B, T], the behaviors of all groups side by side.
    Objects are numbered through all entities; 0 is padding, or unknown. Actions are numbered through the groups of one
    entity: where there are several, each tells of the candidates of the others.

    Args:
        schema: a prepared schema.
        tasks: the model's tasks.
    """

    def __init__(self, schema: Schema, tasks: Sequence[str]) -> None:
        self._groups = tuple(schema.groups)
        self._entities = {name: group.entity for name, group in schema.groups.items()}
        rows = {name: schema.entities[name].rows for name in dict.fromkeys(self._entities.values())}
        begins = dict(zip(rows, accumulate(rows.values(), initial=0), strict=False))
        self._first_object = {name: begins[entity] for name, entity in self._entities.items()}
        self._rows = {
            name: [*(f"row {row}" for row in range(FIRST_ROW)), *(f"action {action}" for action in group.actions)]
            for name, group in sorted(schema.groups.items())  # By name, not as declared.
        }
        self._first_action: dict[str, int] = {}
        actions = dict.fromkeys(rows, 0)
        for name, own in self._rows.items():
            self._first_action[name] = actions[self._entities[name]]
            actions[self._entities[name]] += len(own)
        self._group_of = {task: schema.tasks[task].group for task in tasks}
        self._layers = {
            task: RepeatHead(schema.time.boundaries, actions[schema.groups[group].entity], name=f"repeat_head_{task}")
            for task, group in self._group_of.items()
        }

    def row_names(self) -> dict[str, list[str]]:
        """Returns a name for each row of the weights: path of the weight -> names."""
        named = {}
        for task, layer in self._layers.items():
            entity = self._entities[self._group_of[task]]
            named[layer.table.path] = [
                f"{name}: {row}" for name, rows in self._rows.items() if self._entities[name] == entity for row in rows
            ]
        return named

    def memory_inputs(self) -> dict[str, Tensor]:
        """Returns the inputs of this part of a memory, and `now`."""
        names = ("object", "action", "timestamp")
        inputs = {name: keras.Input((None,), dtype="int64", name=name) for name in names}
        return inputs | {"now": keras.Input((), dtype="int64", name="now")}

    def remember(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns this part of the memory of a batch of histories."""
        ids, actions, timestamp = (side_by_side(inputs, self._groups, name) for name in BEHAVIOR_COLUMNS)
        return self.numbered(ids, actions, group_numbers(inputs, self._groups)) | {"timestamp": timestamp}

    def numbered(self, ids: Tensor, actions: Tensor, group: Tensor) -> dict[str, Tensor]:
        """Returns `object` and `action` of behaviors, given `ids`, `actions` and `group`, int64 [B, T]."""
        first_object, first_action = (
            ops.take(ops.convert_to_tensor([firsts[name] for name in self._groups], "int64"), group, axis=0)
            for firsts in (self._first_object, self._first_action)
        )
        return {"object": ops.where(ids >= FIRST_ROW, ids + first_object, 0), "action": actions + first_action}

    def logits(self, task: str, memory: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
        """Returns the logits of candidates of one request time, float [B, N]."""
        seen = ops.not_equal(memory["object"], 0)[:, None]
        candidates = inputs[candidates_name(task)][:, None]
        return self.of_requests(task, candidates, memory, seen, inputs["now"][:, None])[:, 0]

    def of_requests(
        self, task: str, candidates: Tensor, memory: Mapping[str, Tensor], seen: Tensor, now: Tensor
    ) -> Tensor:
        """Returns the logits of candidates of several request times, float [B, P, N].

        Args:
            task: a task.
            candidates: int64 [B, P, N].
            memory: with `object`, `action` and `timestamp`, int64 [B, T].
            seen: bool [B, P, T], the behaviors that each request sees.
            now: int64 [B, P], the request times.
        """
        layer, first = self._layers[task], self._first_object[self._group_of[task]]
        objects = ops.where(candidates >= FIRST_ROW, candidates + first, NO_OBJECT)
        # No behavior on another entity is on any of these, whichever action it is taken for.
        actions = ops.minimum(memory["action"], layer.num_actions - 1)
        return layer(objects, memory["object"], actions, seen, now, memory["timestamp"])
