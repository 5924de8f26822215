"""The layers of a ranker that encodes a timeline once for all moments, and how they are called."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers import CausalMask, TimeBias, take
from atrank_tf.models.inputs import candidate_names
from atrank_tf.models.network import Coded, Network, join, real
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import Schema, Ties


class TimelineNetwork(Network):
    """As `Network`, but a behavior's code knows no time, and each behavior sees only what came before it.

    Time stands in the scores of the attentions instead, as a bias by the gap between two behaviors and between a
    request and a behavior. So a memory does not depend on the request, and one memory serves all moments of a timeline.
    A memory also holds `timestamp`, int64 [B, T].

    Args:
        schema: a prepared schema.
        config: the model's config, with `spaces`.
        encoder: a `TimelineEncoder`.
        reader: a function (codes of candidates, memory [B, T, D], mask [B, R, T], bias [B, K, R, T], places)
            -> read-out [B, N, D]; codes and places as in `Coded`.
    """

    def __init__(self, schema: Schema, config: RankerConfig, encoder: Any, reader: Any) -> None:
        super().__init__(schema, config, encoder, reader)
        ordered = {task.group for task in schema.tasks.values() if task.ties is Ties.ORDERED}
        self._causal = CausalMask([name in ordered for name in schema.groups], name="causal_mask")
        self._time_bias = TimeBias(schema.time.boundaries, config.spaces, name="target_time_bias")  # type: ignore[attr-defined]

    def memory_inputs(self) -> dict[str, Any]:
        # The gap to the request is part of reading.
        moments = {
            "timestamp": keras.Input((None,), dtype="int64", name="timestamp"),
            "now": keras.Input((), dtype="int64", name="now"),
        }
        return super().memory_inputs() | moments

    def encode(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._encode(inputs, self._histories(inputs))

    def _encode(self, inputs: Mapping[str, Any], histories: Mapping[str, Any]) -> dict[str, Any]:
        behaviors, mask = self._behaviors(inputs, histories)
        timestamps = [inputs[f"{name}_timestamp"] for name in self.schema.groups]
        timestamp = join(timestamps)
        memory = self._encoder(behaviors, mask, self._causal(timestamps), timestamp)
        return {"memory": real(memory, mask), "mask": mask, "timestamp": timestamp}

    def append(self, memory: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """See `TimelineATRank.append`."""
        behaviors, mask = self._behaviors(inputs, self._histories(inputs))
        timestamps = [inputs[f"{name}_timestamp"] for name in self.schema.groups]
        timestamp = ops.concatenate([memory["timestamp"], join(timestamps)], axis=1)
        old = ops.broadcast_to(memory["mask"][:, None], (*ops.shape(mask), ops.shape(memory["mask"])[1]))
        visible = ops.concatenate([old, ops.logical_and(self._causal(timestamps), mask[:, None])], axis=2)
        encoded, keys, values = self._encoder.extend(
            behaviors, mask, visible, timestamp, memory["keys"], memory["values"]
        )
        return {
            "memory": ops.concatenate([memory["memory"], real(encoded, mask)], axis=1),
            "mask": ops.concatenate([memory["mask"], mask], axis=1),
            "timestamp": timestamp,
            "keys": keys,
            "values": values,
        }

    def timeline(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the logits of the P_t moments of each timeline and task, task -> float32 [B, P_t, N].

        Args:
            inputs: tensors of a batch of `timeline_batches`.
        """
        histories, candidates = self._coded_once(inputs)
        memory = self._encode(inputs, histories)
        profile = self.objects.profile(inputs)
        logits = {}
        for task in self.tasks:
            own = {name: _fold_moments(inputs[name]) for name in candidate_names(self.schema, task)}
            own["now"] = inputs[f"{task}/now"]
            seen = {**memory, "mask": self._seen(task, inputs)}
            folded = self._rank(task, candidates[task], seen, profile, {**inputs, **own})
            logits[task] = ops.reshape(folded, ops.shape(inputs[f"{task}_candidates"]))
        return logits

    def _time_buckets(self) -> None:
        return None

    def _bucket(self, inputs: Mapping[str, Any], group: str) -> None:
        return None

    def _coded_once(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Coded]]:
        """As `_histories`, and `_candidates` of each task, but each object of the batch is looked up once."""
        rows = {f"{name}_id": inputs[f"{name}_id"] for name in self.schema.groups}
        entities = {f"{name}_id": group.entity for name, group in self.schema.groups.items()}
        places = {}
        for task in self.tasks:
            name = f"{task}_candidates"
            rows[name], places[task] = tf.unique(tf.reshape(inputs[name], [-1]))
            places[task] = tf.reshape(places[task], ops.shape(_fold_moments(inputs[name])))
            entities[name] = self._entity(task)
        objects: dict[str, Any] = {}
        for entity in {entities[name]: None for name in rows}:
            names = [name for name in rows if entities[name] == entity]
            found = self.objects.objects_once(entity, [rows[name] for name in names])
            objects |= dict(zip(names, found, strict=True))
        candidates = {}
        for task, where in places.items():
            name = f"{task}_candidates"
            code, bias, _ = self._coded(task, objects[name], rows[name])
            candidates[task] = Coded(code, bias if bias is None else take(bias, where), where)
        return {name: objects[f"{name}_id"] for name in self.schema.groups}, candidates

    def _read(self, candidates: Any, memory: Mapping[str, Any], inputs: Mapping[str, Any], places: Any) -> Any:
        now, mask = inputs["now"], memory["mask"]
        if len(now.shape) == 1:  # One moment.
            now, mask = now[:, None], mask[:, None]
        bias = self._time_bias(now, memory["timestamp"])
        return self._reader(candidates, memory["memory"], mask, bias, places)

    def _seen(self, task: str, inputs: Mapping[str, Any]) -> Any:
        """Returns which behaviors each moment of a task sees, bool [B, P, T]: so many first ones of each group."""
        seen = []
        for name in self.schema.groups:
            ids = inputs[f"{name}_id"]
            place = ops.cumsum(ops.ones_like(ids), axis=1)  # 1, 2, ...
            seen.append(ops.expand_dims(inputs[f"{task}/{name}_seen"], 2) >= ops.expand_dims(place, 1))
        return ops.concatenate(seen, axis=2) if len(seen) > 1 else seen[0]


def _fold_moments(value: Any) -> Any:
    """[B, P, N, ...] -> [B, P * N, ...]."""
    shape = ops.shape(value)
    return ops.reshape(value, (shape[0], shape[1] * shape[2], *shape[3:]))
