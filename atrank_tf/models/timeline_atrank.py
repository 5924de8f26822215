"""ATRank with causal self-attention, trained on all targets of a timeline in one pass."""

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.data import timeline_batches
from atrank_tf.experiment import RankerConfig, TimelineATRankConfig
from atrank_tf.layers import (
    CandidateQueries,
    CausalBlocks,
    Packing,
    SelfAttention,
    TargetAttention,
    TimeBias,
    take,
    time_order,
    zero_padding,
)
from atrank_tf.models.explain import is_recorded, record_self_attention, record_target_attention
from atrank_tf.models.heads import CandidateEmbedding
from atrank_tf.models.inputs import behavior_columns, content
from atrank_tf.models.packed_histories import PackedHistories
from atrank_tf.models.ranker import Ranker
from atrank_tf.schema import PADDING, Ties
from atrank_tf.schema.inputs import candidate_specs, candidates_name, request_times_name, seen_name
from atrank_tf.types import Tensor

UNLIMITED = 1 << 29
"""A window that no history fills."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class TimelineATRank(Ranker):
    """ATRank trained on all targets of a user at once: causal self-attention, and time as a bias on attention scores.

    The embedding of a behavior has no time, and each behavior sees only what came before it. Time is a learned bias on
    the scores of both attentions instead, by the gap between two behaviors, or between a request and a behavior:

        C   = F_self([w_k(u W_k u^T + bias_k(time_j - time_i) + causal mask) u Q_k ...])              `relate`
        e_t = F_vanilla([w_k(h_t W_k C^T + bias_k(now - time_i)) C Q_k ...]) + m M                     `user_vectors`

    w_k is a softmax with a sink, of scores that compare vectors of unit size (`SpaceAttention`); m says how much of the
    memory fits (`TargetAttention`). With a `window` a behavior sees its block of that many behaviors and the one before
    in self-attention (`CausalBlocks`); a candidate sees all.

    So a memory may be cached while the user does nothing new (`append` adds what is new), and one pass over a timeline
    trains on every target in it (`timeline_logits`), where `ATRank` encodes the history of each anew.

    Arguments, inputs, outputs and saved forms are those of `ATRank`; a memory also holds `timestamp`, int64 [B, T].
    Called with batches of `timeline_batches` (the targets and candidates of all tasks, as `fit` does) it returns
    task -> logits, float32 [B, P_t, N].

    Glossary: B users, T behaviors, P_t targets of task t, P of all, N candidates, D hidden dim, K spaces, L blocks.

    Reference:
        ATRank (arXiv 1711.06632); SASRec (arXiv 1808.09781) for training on every position; HSTU (arXiv 2402.17152) for
        time in the scores.
    """

    Config: ClassVar[type[RankerConfig]] = TimelineATRankConfig
    make_batches: ClassVar[Any] = staticmethod(timeline_batches)
    embeds_time: ClassVar[bool] = False
    projects_alike: ClassVar[bool] = True

    # === Layers ===

    def make_layers(self) -> None:
        config, boundaries = self.config, self.schema.time.boundaries
        self.self_attention = [
            SelfAttention(**config.attention_options(), dropout=config.dropout, name=f"self_attention_{number}")
            for number in range(config.num_blocks)
        ]
        self.time_biases = [
            TimeBias(boundaries, config.num_spaces, name=f"time_bias_{number}") for number in range(config.num_blocks)
        ]
        self.target_attention = TargetAttention(**config.attention_options(), name="target_attention")
        self.target_time_bias = TimeBias(boundaries, config.num_spaces, name="target_time_bias")
        self.ordered = {task.group for task in self.schema.tasks.values() if task.ties is Ties.ORDERED}
        ordered = [group in self.ordered for group in self.schema.groups]
        self.causal_blocks = CausalBlocks(ordered, config.window or UNLIMITED, name="causal_blocks")

    # === Forward pass of requests: one request time for each user ===

    def encode_user(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        behaviors, mask = self.embed_behaviors(inputs)
        columns = behavior_columns(inputs, tuple(self.schema.groups))
        levels = self.relate(behaviors, mask, columns)
        return {"memory": zero_padding(levels[-1], mask), "mask": mask, "timestamp": columns["timestamp"]}

    def relate(self, behaviors: Tensor, mask: Tensor, columns: Mapping[str, Tensor]) -> list[Tensor]:
        """Returns behaviors, float [B, T, D], and what each block makes of them, of the same shape.

        Args:
            behaviors: float [B, T, D].
            mask: bool [B, T], True = real.
            columns: those of `behavior_columns`.
        """
        timestamp, group, levels = columns["timestamp"], columns["group"], [behaviors]
        blocks = self.causal_blocks(timestamp, group, mask, content(self.schema, columns, self.ordered))
        position = blocks["position"]
        if is_recorded():  # An explanation needs all T x T weights, not blocks.
            of_all = (timestamp, group, position)
            near = self.causal_blocks.near(position, position)
            visible = ops.logical_and(self.causal_blocks.sees(*of_all, *of_all), near)
        for block, bias in zip(self.self_attention, self.time_biases, strict=True):
            if is_recorded():
                gaps = bias(timestamp, timestamp)  # [B, K, T, T]
                related, weights = block(levels[-1], mask, visible, gaps, return_weights=True)
                record_self_attention(weights)
            else:
                gaps = bias(blocks["timestamp"], blocks["seen_timestamp"])  # [B * n, K, C, S]
                # Keras counts the outputs of a layer by its first call, so each returns weights.
                related, _ = block(levels[-1], mask, blocks["visible"], gaps, position, return_weights=True)
            levels.append(related)
        return levels

    def user_vectors(
        self, candidates: Tensor, memory: Mapping[str, Tensor], profile: Tensor | None, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        gaps = self.target_time_bias(inputs["now"][:, None], memory["timestamp"])  # [B, K, 1, T]
        user, weights = self.target_attention(
            candidates, memory["memory"], memory["mask"], gaps, return_weights=True
        )  # [B, N, D], [B, K, N, T]
        record_target_attention(weights)
        return user

    def memory_inputs(self) -> dict[str, Tensor]:
        times = {
            "timestamp": keras.Input((None,), dtype="int64", name="timestamp"),
            "now": keras.Input((), dtype="int64", name="now"),  # The gap to the request is part of reading.
        }
        return super().memory_inputs() | times

    # === Forward pass of training: all targets of a timeline ===

    @property
    def input_spec(self) -> None:
        """None: batches of requests and batches of timelines are both allowed."""
        return

    def forward(self, inputs: Mapping[str, Tensor], training: bool | None) -> dict[str, Tensor]:
        return super().forward(inputs, training) if "now" in inputs else self.timeline_logits(inputs)

    def timeline_logits(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the logits of all targets of each timeline, task -> float32 [B, P_t, N].

        Behaviors and candidates are packed: what is computed for each by itself is computed for real ones alone.

        Args:
            inputs: tensors of a batch of `timeline_batches`.
        """
        histories = PackedHistories(inputs, tuple(self.schema.groups))
        objects, candidates, indices = self._embed_once(inputs, histories.ids)
        projected = [
            self.projections[group](self.behavior_embeddings[group](embedding, histories.actions[group]))
            for group, embedding in objects.items()
        ]
        behaviors = histories.by_user(self.drop(ops.concatenate(projected, axis=0)))  # [B, T, D]
        memory = self.relate(behaviors, histories.mask, histories.columns)[-1]
        queries = self._queries(inputs, indices, histories)
        users = self.target_attention.attend_packed(candidates.embedding, zero_padding(memory, histories.mask), queries)
        profile = self.profile(inputs)
        return {
            task: self._rank_targets(task, query, user, candidates, profile, inputs)
            for task, query, user in zip(self.tasks, queries, users, strict=True)
        }

    def _embed_once(
        self, inputs: Mapping[str, Tensor], behavior_ids: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], CandidateEmbedding, list[Tensor]]:
        """Looks up each object of a batch once, and projects each candidate once.

        Args:
            inputs: the batch.
            behavior_ids: group -> the objects of its behaviors, int64 [M_g].

        Returns:
            group -> float [M_g, D_o]; the U different candidates of all tasks; and for each task which of these its
            candidates are, int32 [B, P_t * N].
        """
        ids, indices = dict(behavior_ids), []
        entities = {group: self.schema.groups[group].entity for group in behavior_ids}
        names = {task: candidates_name(task) for task in self.tasks}
        for task, name in names.items():
            entities[name] = self.schema.entity_of(task)
            rows = self.objects.known_at(entities[name], inputs[name], inputs[request_times_name(task)][..., None])
            ids[name], index = tf.unique(tf.reshape(rows, [-1]))
            indices.append(tf.reshape(index, tf.shape(_fold_targets(rows))))
        objects: dict[str, Tensor] = {}
        for entity in {entities[name]: None for name in ids}:
            same = [name for name in ids if entities[name] == entity]
            objects |= dict(zip(same, self.objects.objects_once(entity, [ids[name] for name in same]), strict=True))
        of_tasks = [self.project_candidates(task, objects[name], ids[name]) for task, name in names.items()]
        begins = [0, *itertools.accumulate(tf.shape(candidates.embedding)[0] for candidates in of_tasks[:-1])]
        embedding = ops.concatenate([candidates.embedding for candidates in of_tasks], axis=0)
        bias = None
        if any(candidates.bias is not None for candidates in of_tasks):  # Objects whose ids have no table have none.
            biases = [ops.zeros_like(one.embedding[:, 0]) if one.bias is None else one.bias for one in of_tasks]
            bias = ops.concatenate(biases, axis=0)
        indices = [begin + index for begin, index in zip(begins, indices, strict=True)]
        return {group: objects[group] for group in behavior_ids}, CandidateEmbedding(embedding, bias), indices

    def _queries(
        self,
        inputs: Mapping[str, Tensor],
        indices: list[Tensor],
        histories: PackedHistories,
    ) -> list[CandidateQueries]:
        """Returns for each task which behaviors its targets see, their time biases, and which candidates are real."""
        times = [inputs[request_times_name(task)] for task in self.tasks]
        bias = self.target_time_bias(ops.concatenate(times, axis=1), histories.columns["timestamp"])  # [B, K, P, T]
        groups = self.schema.groups
        seen = [[inputs[seen_name(task, group)] for task in self.tasks] for group in groups]
        longest = [spec.max_length for spec in groups.values()]
        mask = histories.windows(
            tf.stack([ops.concatenate(each, axis=1) for each in seen], axis=1), longest
        )  # [B, P, T]
        numbers = [tf.shape(each)[1] for each in times]
        biases, masks = (tf.split(each, numbers, axis=-2, num=len(numbers)) for each in (bias, mask))
        ids = [_fold_targets(inputs[candidates_name(task)]) for task in self.tasks]
        packings = [Packing.of(each != PADDING) for each in ids]
        return [CandidateQueries(*each) for each in zip(masks, biases, indices, packings, strict=True)]

    def _rank_targets(
        self,
        task: str,
        query: CandidateQueries,
        user: Tensor,
        candidates: CandidateEmbedding,
        profile: Tensor | None,
        inputs: Mapping[str, Tensor],
    ) -> Tensor:
        """Returns the logits of all targets of a task, float32 [B, P_t, N], given user vectors of M real candidates.

        The heads get the real candidates of a batch as if they were of one user: [1, M, D].
        """
        packing = query.packing

        def packed(value: Tensor | None) -> Tensor | None:
            return None if value is None else packing.pack(_fold_targets(value))[None]

        def taken(rows: Tensor | None, index: Tensor) -> Tensor | None:
            return None if rows is None else take(rows, index)[None]

        own = {spec.name: inputs[spec.name] for spec in candidate_specs(self.schema, task)}
        ids, now = own[candidates_name(task)], inputs[request_times_name(task)]
        popularity, lists = packed(self.counts(task, own, now)), packed(self.lists(task, own))
        users = packing.indices // tf.maximum(tf.shape(query.indices, tf.int64)[1], 1)
        real = {name: packed(value) for name, value in own.items()}
        known = self.known_of_candidates(task, taken(profile, users), lists, popularity, real)
        index = packing.pack(query.indices)
        if self.config.calendar:
            of_targets = tf.reshape(self.calendar(now), (-1, user.shape[-1]))
            user = user + take(of_targets, packing.indices // tf.maximum(tf.shape(ids, tf.int64)[2], 1))
        asked = CandidateEmbedding(*(taken(each, index) for each in candidates))
        logits = self.heads.logits(task, user[None], asked, known)[0]
        return tf.reshape(packing.unpack(logits), tf.shape(ids))

    # === Memories that grow ===

    def growing_memory(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Encodes histories, as `encode_user`, into memories that `append` takes.

        Args:
            inputs: the history inputs, as tensors.

        Returns:
            A memory: `memory` float [B, T, D], `mask` bool [B, T], `timestamp` int64 [B, T], and of the newest R
            behaviors, by time and at the end of their rows, what each block reads: `recent` float [B, L, R, D],
            `recent_timestamp` int64 [B, R]. R is twice the window, or T if that is less.
        """
        behaviors, mask = self.embed_behaviors(inputs)
        columns = behavior_columns(inputs, tuple(self.schema.groups))
        levels = self.relate(behaviors, mask, columns)
        order = time_order(columns["timestamp"], mask, content(self.schema, columns, self.ordered))
        newest = tf.gather(order, self._newest(_count(mask), tf.shape(mask)[1]), batch_dims=1)  # [B, R]
        return {
            "memory": tf.cast(zero_padding(levels[-1], mask), tf.float32),
            "mask": mask,
            "timestamp": columns["timestamp"],
            "recent": tf.gather(_block_inputs(levels), newest, axis=2, batch_dims=1),
            "recent_timestamp": tf.gather(columns["timestamp"], newest, batch_dims=1),
        }

    def append(self, memory: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adds new behaviors to memories without encoding the old ones again. Exact.

        A behavior must not change what came before it, so it must be newer: `docs/serving.md` says what that means for
        behaviors of one timestamp.

        Args:
            memory: as `growing_memory` or `empty_memory` returns it.
            inputs: the history inputs of the new behaviors alone, as tensors.

        Returns:
            The same of old and new behaviors.
        """
        behaviors, mask = self.embed_behaviors(inputs)  # [B, A, D], A new ones
        columns = behavior_columns(inputs, tuple(self.schema.groups))
        order = time_order(columns["timestamp"], mask, content(self.schema, columns, self.ordered))
        behaviors, mask, timestamp, group = (
            tf.gather(each, order, batch_dims=1) for each in (behaviors, mask, columns["timestamp"], columns["group"])
        )
        before, recent = _count(memory["mask"]), tf.shape(memory["recent_timestamp"])[1]
        offset = tf.range(recent + tf.shape(mask)[1]) - recent  # Of the R recent ones and the A new ones; new from 0.
        positions = tf.cast(before[:, tf.newaxis] + offset, tf.int64)
        real = (positions >= 0) & ((offset < 0) | (offset < _count(mask)[:, tf.newaxis]))
        times = tf.concat([memory["recent_timestamp"], timestamp], axis=1)
        # Where an old one may have the timestamp of a new one, there is one group.
        groups = tf.concat([tf.zeros_like(memory["recent_timestamp"]), group], axis=1)
        visible = self.causal_blocks.sees(timestamp, group, positions[:, recent:], times, groups, positions)
        visible &= self.causal_blocks.near(positions[:, recent:], positions) & real[:, tf.newaxis]
        newest = self._newest(recent + _count(mask), tf.size(offset))
        levels = [behaviors]
        for number, (block, bias) in enumerate(zip(self.self_attention, self.time_biases, strict=True)):
            old_inputs = tf.cast(memory["recent"][:, number], behaviors.dtype)
            keys, values = block.attention.project(tf.concat([old_inputs, levels[-1]], axis=1))  # [B, R + A, D]
            levels.append(block.extend(levels[-1], mask, keys, values, visible, bias(timestamp, times)))
        added = {"memory": tf.cast(zero_padding(levels[-1], mask), tf.float32), "mask": mask, "timestamp": timestamp}
        whole = {name: tf.concat([memory[name], value], axis=1) for name, value in added.items()}
        block_inputs = tf.concat([memory["recent"], _block_inputs(levels)], axis=2)
        return {
            **whole,
            "recent": tf.gather(block_inputs, newest, axis=2, batch_dims=1),
            "recent_timestamp": tf.gather(times, newest, batch_dims=1),
        }

    def _newest(self, end: Tensor, length: Tensor) -> Tensor:
        """Returns the indices of the last rows before `end`, int32 [B], of `length`: those that two blocks hold."""
        size = tf.minimum(length, 2 * self.causal_blocks.window)
        return tf.maximum(end[:, tf.newaxis] - size + tf.range(size), 0)  # Below 0 nothing is real.

    def empty_memory(self, users: int | Tensor) -> dict[str, Tensor]:
        """Returns the memories of B users without behaviors, for `append`; T = R = 0."""
        size, blocks = self.config.hidden_dim, self.config.num_blocks
        return {
            "memory": tf.zeros((users, 0, size)),
            "mask": tf.zeros((users, 0), tf.bool),
            "timestamp": tf.zeros((users, 0), tf.int64),
            "recent": tf.zeros((users, blocks, 0, size)),
            "recent_timestamp": tf.zeros((users, 0), tf.int64),
        }


def _count(mask: Tensor) -> Tensor:
    """Returns how many behaviors of each user are real, int32 [B]."""
    return tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)


def _block_inputs(levels: list[Tensor]) -> Tensor:
    """Returns what each of L blocks reads, float32 [B, L, T, D], of the L + 1 levels of `relate`."""
    return tf.cast(tf.stack(levels, axis=1)[:, :-1], tf.float32)


def _fold_targets(value: Tensor) -> Tensor:
    """Reshapes [B, P, N, ...] to [B, P * N, ...]."""
    shape = ops.shape(value)
    return ops.reshape(value, (shape[0], shape[1] * shape[2], *shape[3:]))
