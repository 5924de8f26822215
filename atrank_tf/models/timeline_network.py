"""The layers of a ranker that encodes a timeline once for all moments, and how they are called."""

import itertools
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers import Asked, CausalMask, Packing, TimeBias, take
from atrank_tf.models.inputs import candidate_names, group_numbers, join, side_by_side
from atrank_tf.models.network import Coded, Network, real
from atrank_tf.models.packed_histories import PackedHistories
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import PADDING, Schema, Ties


class TimelineNetwork(Network):
    """As `Network`, but a behavior's code knows no time, and each behavior sees only what came before it.

    Time stands in the scores of the attentions instead, as a bias by the gap between two behaviors and between a
    request and a behavior. So a memory does not depend on the request, and one memory serves all moments of a timeline.
    A memory also holds `timestamp`, int64 [B, T].

    Args:
        schema: a prepared schema.
        config: the model's config, with `spaces`.
        encoder: a `TimelineEncoder`.
        reader: a `TargetReader`.
    """

    def __init__(self, schema: Schema, config: RankerConfig, encoder: Any, reader: Any) -> None:
        super().__init__(schema, config, encoder, reader)
        self._groups = tuple(schema.groups)
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
        behaviors, mask = self._behaviors(inputs, self._histories(inputs))
        timestamp, group = side_by_side(inputs, self._groups, "timestamp"), group_numbers(inputs, self._groups)
        memory = self._encode(behaviors, mask, timestamp, group)
        return memory if self._done is None else memory | self._done.remember(inputs)

    def _encode(self, behaviors: Any, mask: Any, timestamp: Any, group: Any) -> dict[str, Any]:
        """Returns the memory of behaviors [B, T, D], each of a group, int64 [B, T]."""
        visible = self._causal(timestamp, group)
        memory = self._encoder(behaviors, mask, visible, timestamp)
        return {"memory": real(memory, mask), "mask": mask, "timestamp": timestamp}

    def append(self, memory: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """See `TimelineATRank.append`."""
        behaviors, mask = self._behaviors(inputs, self._histories(inputs))
        moments, group = side_by_side(inputs, self._groups, "timestamp"), group_numbers(inputs, self._groups)
        timestamp = ops.concatenate([memory["timestamp"], moments], axis=1)
        old = ops.broadcast_to(memory["mask"][:, None], (*ops.shape(mask), ops.shape(memory["mask"])[1]))
        visible = ops.concatenate([old, ops.logical_and(self._causal(moments, group), mask[:, None])], axis=2)
        encoded, keys, values = self._encoder.extend(
            behaviors, mask, visible, timestamp, memory["keys"], memory["values"]
        )
        added = {"memory": real(encoded, mask), "mask": mask}
        if self._done is not None:
            added |= {name: value for name, value in self._done.remember(inputs).items() if name != "timestamp"}
        whole = {name: ops.concatenate([memory[name], value], axis=1) for name, value in added.items()}
        return {**whole, "timestamp": timestamp, "keys": keys, "values": values}

    def logits(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return super().logits(inputs) if "now" in inputs else self.timeline(inputs)

    def timeline(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the logits of the P_t moments of each timeline and task, task -> float32 [B, P_t, N].

        Args:
            inputs: tensors of a batch of `timeline_batches`.
        """
        histories = PackedHistories(inputs, self._groups)
        objects, coded, places = self._coded_once(inputs, histories.ids)
        codes = [self._embeddings[name](code, histories.actions[name]) for name, code in objects.items()]
        behaviors = join([self._projections[name](code) for name, code in zip(objects, codes, strict=True)], axis=0)
        behaviors = histories.by_user(self._drop(behaviors))
        memory = self._encode(behaviors, histories.mask, histories.timestamp, histories.group)
        asked = self._asked(inputs, places, memory, histories)
        reads = self._reader.layer.read_packed(coded.code, memory["memory"], asked)
        if self._done is not None:
            memory |= self._done.numbered(histories.id, histories.action, histories.group)
        profile = self.objects.profile(inputs)
        return {
            task: self._of_moments(task, each, read, coded, memory, profile, inputs)
            for task, each, read in zip(self.tasks, asked, reads, strict=True)
        }

    def _of_moments(
        self,
        task: str,
        asked: Asked,
        read: Any,
        coded: Coded,
        memory: Mapping[str, Any],
        profile: Any | None,
        inputs: Mapping[str, Any],
    ) -> Any:
        """Returns the logits of all moments of a task, float32 [B, P, N], given what its M real candidates read.

        What a candidate does by itself is done with the real ones alone, as if they were those of one user.
        """
        packing = asked.packing
        own = {name: inputs[name] for name in candidate_names(self.schema, task)}
        candidates = own[f"{task}_candidates"]
        where = packing.pack(asked.places)
        parts = {} if coded.bias is None else {"item_bias": take(coded.bias, where)[None]}
        if self._done is not None:
            repeats = self._done.of_moments(task, candidates, memory, asked.mask, inputs[f"{task}/now"])
            parts["repeat"] = packing.pack(_fold_moments(repeats))[None]
        if task in self._popularity:
            popularity = self._popularity[task](candidates, inputs[f"{task}/now"])
            parts["popularity"] = packing.pack(_fold_moments(popularity))[None]
        users = packing.places // tf.maximum(tf.shape(asked.places, tf.int64)[1], 1)
        known = [] if profile is None else [take(profile, users)[None]]
        packed = {name: packing.pack(_fold_moments(value))[None] for name, value in own.items()}
        logits = self._logits(task, read[None], take(coded.code, where)[None], parts, known, packed)[0]
        return tf.reshape(packing.unpack(logits), tf.shape(candidates))

    def _asked(
        self, inputs: Mapping[str, Any], places: list[Any], memory: Mapping[str, Any], histories: PackedHistories
    ) -> list[Asked]:
        """Returns what the moments of each task ask of the memories."""
        moments = [inputs[f"{task}/now"] for task in self.tasks]
        bias = self._time_bias(join(moments), memory["timestamp"])  # [B, K, sum of P, T]
        seen = [[inputs[f"{task}/{group}_seen"] for task in self.tasks] for group in self._groups]
        longest = [self.schema.groups[group].max_length for group in self._groups]
        mask = histories.windows(tf.stack([join(each) for each in seen], axis=1), longest)  # [B, sum of P, T]
        numbers = [tf.shape(each)[1] for each in moments]
        biases, masks = (tf.split(each, numbers, axis=-2, num=len(numbers)) for each in (bias, mask))
        ids = [_fold_moments(inputs[f"{task}_candidates"]) for task in self.tasks]
        packings = [Packing.of(each != PADDING) for each in ids]
        return [Asked(*each) for each in zip(masks, biases, places, packings, strict=True)]

    def _time_buckets(self) -> None:
        return None

    def _bucket(self, inputs: Mapping[str, Any], group: str) -> None:
        return None

    def _coded_once(
        self, inputs: Mapping[str, Any], histories: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Coded, list[Any]]:
        """Returns what the objects of a batch are, each looked up once.

        Args:
            inputs: the batch.
            histories: group -> the objects of its behaviors, int64 [M_g].

        Returns:
            group -> float [M_g, D_o]; the U different candidates of all tasks; and for each task which of these its
            candidates are, int32 [B, P * N].
        """
        rows, places = dict(histories), []
        entities = {name: self.schema.groups[name].entity for name in histories}
        names = {task: f"{task}_candidates" for task in self.tasks}
        for task, name in names.items():
            rows[name], where = tf.unique(tf.reshape(inputs[name], [-1]))
            places.append(tf.reshape(where, tf.shape(_fold_moments(inputs[name]))))
            entities[name] = self._entity(task)
        objects: dict[str, Any] = {}
        for entity in {entities[name]: None for name in rows}:
            same = [name for name in rows if entities[name] == entity]
            objects |= dict(zip(same, self.objects.objects_once(entity, [rows[name] for name in same]), strict=True))
        coded = [self._coded(task, objects[name], rows[name]) for task, name in names.items()]
        begins = [0, *itertools.accumulate(tf.shape(each.code)[0] for each in coded[:-1])]
        code = join([each.code for each in coded], axis=0)
        bias = join([each.bias for each in coded], axis=0) if self._bias else None
        places = [begin + where for begin, where in zip(begins, places, strict=True)]
        return {name: objects[name] for name in histories}, Coded(code, bias), places

    def _read(self, candidates: Any, memory: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        bias = self._time_bias(inputs["now"][:, None], memory["timestamp"])
        return self._reader(candidates, memory["memory"], memory["mask"], bias)


def _fold_moments(value: Any) -> Any:
    """[B, P, N, ...] -> [B, P * N, ...]."""
    shape = ops.shape(value)
    return ops.reshape(value, (shape[0], shape[1] * shape[2], *shape[3:]))
