"""The layers of a ranker whose behaviors are coded relative to the request, and how they are called."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from atrank_tf.data import PERIODS, Popularity
from atrank_tf.layers import (
    BehaviorEmbedding,
    DotHead,
    Dropout,
    GroupProjection,
    PopularityHead,
    SparseEmbedding,
    TimeBuckets,
)
from atrank_tf.models.done_before import DoneBefore
from atrank_tf.models.inputs import join
from atrank_tf.models.object_encoder import ObjectEncoder
from atrank_tf.models.probe import show_parts
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.ranking_networks import RANKING_NETWORKS
from atrank_tf.models.task_experts import TaskExperts
from atrank_tf.schema import FIRST_ROW, PADDING, Schema

CODES_BYTES = 1 << 30
"""Largest table of candidates' codes that an export holds."""
_CODED_AT_ONCE = 1 << 14


class Coded(NamedTuple):
    """What candidates are by themselves: `code` float [B, N, D], `bias` float [B, N], or None without."""

    code: Any
    bias: Any | None


class Network:
    """Makes the layers once, and calls them for the whole model and again for its parts.

    A memory is a dict of what the network reads: `memory` float [B, T, D] and `mask` bool [B, T].

    Args:
        schema: a prepared schema.
        config: the model's config.
        encoder: a function (behaviors [B, T, D], mask [B, T]) -> memory [B, T, D].
        reader: a function (codes of candidates [B, N, D], memory [B, T, D], mask [B, T]) -> read-out [B, N, D].
    """

    def __init__(self, schema: Schema, config: RankerConfig, encoder: Any, reader: Any) -> None:
        self.schema = schema
        self.config = config
        self.tasks = config.tasks or tuple(schema.tasks)
        self.objects = ObjectEncoder(schema, config.id_dropout)
        self._encoder, self._reader = encoder, reader
        self._embeddings: dict[str, Any] = {
            name: BehaviorEmbedding(
                group.width or None,
                FIRST_ROW + len(group.actions),
                self._time_buckets(),
                config.combine,
                name=f"behavior_{name}",
            )
            for name, group in schema.groups.items()
        }
        self._projections = {
            name: GroupProjection(config.width, config.activation, name=f"projection_{name}") for name in schema.groups
        }
        self._buckets = TimeBuckets(schema.time.boundaries, name="time_buckets")
        self._drop = Dropout(config.dropout, name="dropout")
        self._dot = DotHead(name="dot_ranking") if "dot" in config.ranking else None
        self._done = DoneBefore(schema, self.tasks) if "repeat" in config.ranking else None
        self._popularity = {}
        for task in self.tasks if "popularity" in config.ranking else ():
            rows = schema.entities[self._entity(task)].rows
            self._popularity[task] = PopularityHead(rows, PERIODS, name=f"popularity_ranking_{task}")
            self._popularity[task].build()
        reading = [name for name in config.ranking if name in RANKING_NETWORKS]
        self._networks = {
            task: {name: RANKING_NETWORKS[name](config, f"{name}_ranking_{task}") for name in reading}
            for task in self.tasks
        }
        self._bias = {}
        for task in self.tasks if config.item_bias else ():
            rows = schema.tables[self._id_table(task)].rows
            self._bias[task] = SparseEmbedding(rows, 1, "zeros", decays=False, name=f"item_bias_{task}")
            self._bias[task].build((None, None))
        self._codes: dict[str, Any] = {}
        self._experts = TaskExperts(config, self.tasks)
        self._to_float32 = keras.layers.Activation("linear", dtype="float32", name="logits")

    def memory_inputs(self) -> dict[str, Any]:
        """Returns the inputs through which a memory comes back."""
        inputs = {
            "memory": keras.Input((None, self.config.width), name="memory"),
            "mask": keras.Input((None,), dtype="bool", name="mask"),
        }
        if self._popularity:
            inputs["now"] = keras.Input((), dtype="int64", name="now")
        return inputs if self._done is None else inputs | self._done.memory_inputs()

    def encode(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the memory of the histories in the model's inputs."""
        behaviors, mask = self._behaviors(inputs, self._histories(inputs))
        memory = {"memory": real(self._encoder(behaviors, mask), mask), "mask": mask}
        return memory if self._done is None else memory | self._done.remember(inputs)

    def logits(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the logits of the candidates of all tasks, task -> float32 [B, N]."""
        memory = self.encode(inputs)
        profile = self.objects.profile(inputs)
        return {task: self.score(task, memory, profile, inputs) for task in self.tasks}

    def score(self, task: str, memory: Mapping[str, Any], profile: Any | None, inputs: Mapping[str, Any]) -> Any:
        """Returns the logits of a task's candidates, float32 [B, N]."""
        return self._rank(task, self._candidates(task, inputs[f"{task}_candidates"]), memory, profile, inputs)

    @contextmanager
    def candidates_coded_ahead(self) -> Iterator[None]:
        """See `Ranker.candidates_coded_ahead`."""
        tables: dict[str, SparseEmbedding] = {}
        for task in self.tasks:
            if self.schema.entities[self._entity(task)].rows * self.config.width * 4 > CODES_BYTES:
                continue
            owner = self.schema.tasks[task].group
            if owner not in tables:  # Tasks of one group code their candidates alike.
                tables[owner] = self._code_table(task)
            self._codes[task] = tables[owner]
        try:
            yield
        finally:
            self._codes = {}

    def start_at_popularity(self, task: str, positive_counts: np.ndarray) -> None:
        """See `Ranker.start_at_popularity`."""
        if task not in self._bias:
            return
        entity = self._entity(task)
        rows = np.asarray(self.objects.id_rows(entity, np.arange(len(positive_counts))))
        table_rows = self._bias[task].input_dim
        if table_rows == FIRST_ROW:
            return  # No object has a row of its own.
        objects = np.bincount(rows, minlength=table_rows)
        mean = np.bincount(rows, weights=positive_counts, minlength=table_rows) / np.maximum(objects, 1)
        bias = np.log((mean + 1) / (mean[FIRST_ROW:].mean() + 1))
        bias[PADDING] = 0.0
        self._bias[task].embeddings.assign(bias[:, np.newaxis])

    def load_popularity(self, task: str, popularity: Popularity) -> None:
        """See `Ranker.load_popularity`."""
        if task in self._popularity:
            self._popularity[task].load(*popularity)

    def table_of_weight(self) -> dict[str, str]:
        """See `Ranker.table_of_weight`."""
        named = {layer: name for name, layer in self.objects.tables.items()}
        named |= {layer: self._id_table(task) for task, layer in self._bias.items()}
        return {layer.embeddings.path: name for layer, name in named.items() if layer.built}

    def row_names(self) -> dict[str, list[str]]:
        """See `Ranker.row_names`."""
        return {} if self._done is None else self._done.row_names()

    def _id_table(self, task: str) -> str:
        return self.schema.entities[self._entity(task)].id.table

    def _entity(self, task: str) -> str:
        return self.schema.groups[self.schema.tasks[task].group].entity

    def _time_buckets(self) -> int | None:
        """How many time buckets a behavior's code tells apart; None if it knows no time."""
        return self.schema.time.buckets

    def _bucket(self, inputs: Mapping[str, Any], group: str) -> Any:
        return self._buckets(inputs["now"], inputs[f"{group}_timestamp"])

    def _candidates(self, task: str, rows: Any) -> Coded:
        if task in self._codes:
            return Coded(self._codes[task](rows), self._item_bias(task, rows))
        return self._coded(task, self.objects.objects(self._entity(task), rows), rows)

    def _coded(self, task: str, objects: Any, rows: Any) -> Coded:
        """Returns candidates, given the codes of their objects."""
        group = self.schema.tasks[task].group
        code = self._projections[group](self._embeddings[group](objects))
        return Coded(self._drop(code), self._item_bias(task, rows))

    def _item_bias(self, task: str, rows: Any) -> Any | None:
        if task not in self._bias:
            return None
        return ops.squeeze(self._bias[task](self.objects.id_rows(self._entity(task), rows)), axis=-1)

    def _code_table(self, task: str) -> SparseEmbedding:
        """Returns a table of the codes of all objects that may be candidates of a task."""
        entity = self._entity(task)
        count = self.schema.entities[entity].rows
        table = SparseEmbedding(count, self.config.width, "zeros", trainable=False, name=f"codes_{task}")
        table.build()
        for start in range(0, count, _CODED_AT_ONCE):
            rows = ops.arange(start, min(start + _CODED_AT_ONCE, count), dtype="int64")
            code = self._coded(task, self.objects.objects(entity, rows), rows).code
            table.embeddings.value.scatter_update(tf.IndexedSlices(ops.cast(code, table.variable_dtype), rows))
        return table

    def _rank(
        self,
        task: str,
        candidates: Coded,
        memory: Mapping[str, Any],
        profile: Any | None,
        inputs: Mapping[str, Any],
    ) -> Any:
        code, bias = candidates
        read = self._read(code, memory, inputs)
        parts = {} if bias is None else {"item_bias": bias}
        if self._done is not None:
            parts["repeat"] = self._done.logits(task, memory, inputs)
        if task in self._popularity:
            parts["popularity"] = self._popularity[task](inputs[f"{task}_candidates"], inputs["now"])
        known = [] if profile is None else [for_each(profile, read)]
        return self._logits(task, read, code, parts, known, inputs)

    def _logits(
        self, task: str, read: Any, code: Any, parts: Mapping[str, Any], profile: list[Any], inputs: Mapping[str, Any]
    ) -> Any:
        """Returns the logits of candidates, float32 [B, N], given what each reads and is, float [B, N, D].

        `parts`: name -> logits that are known already. `profile`: nothing, or what is known of the user of each
        candidate, float [B, N, D_u].
        """
        context = []
        if self._networks[task]:
            own = self.objects.context(task, inputs)
            known = profile if own is None else [*profile, own]
            context = [join(known, axis=-1)] if known else []
        parts = {**parts, **self._ranked(task, read, code, *context)}
        parts = {name: self._to_float32(part) for name, part in parts.items()}  # Added up in full precision.
        show_parts(parts)
        total, *others = parts.values()
        for part in others:
            total = total + part
        return total

    def _ranked(self, task: str, read: Any, code: Any, context: Any | None = None) -> dict[str, Any]:
        """Returns what the ranking networks say of candidates, name -> logits [B, N]."""
        read = self._experts.mixed(task, read)
        parts = {} if self._dot is None else {"dot": self._dot(read, code)}
        return parts | {name: network(read, code, context) for name, network in self._networks[task].items()}

    def _read(self, candidates: Any, memory: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        return self._reader(candidates, memory["memory"], memory["mask"])

    def _histories(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the codes of the objects of the histories, group -> [B, T_g, D_o]."""
        groups = self.schema.groups.items()
        return {name: self.objects.objects(group.entity, inputs[f"{name}_id"]) for name, group in groups}

    def _behaviors(self, inputs: Mapping[str, Any], objects: Mapping[str, Any]) -> tuple[Any, Any]:
        """Returns the behaviors of all groups in the common width, [B, T, D], and which are real, [B, T]."""
        behaviors, masks = [], []
        for name, code in objects.items():
            code = self._embeddings[name](code, inputs[f"{name}_action"], self._bucket(inputs, name))
            behaviors.append(self._drop(self._projections[name](code)))
            masks.append(ops.not_equal(inputs[f"{name}_id"], PADDING))
        return join(behaviors), join(masks)


def for_each(read: Any, candidates: Any) -> Any:
    """Repeats what is the same for all candidates [B, N, ...] of a user: [B, D] -> [B, N, D]."""
    return ops.expand_dims(read, 1) * ops.ones_like(candidates[..., :1])


def real(memory: Any, mask: Any) -> Any:
    return memory * ops.cast(ops.expand_dims(mask, -1), memory.dtype)
