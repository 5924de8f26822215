"""Experts, ranking heads and item biases of all tasks: user vector and candidate in, score out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from atrank_tf.layers import (
    DCNHead,
    DNNHead,
    DotHead,
    ExpertGate,
    Experts,
    SparseEmbedding,
    WideHead,
)
from atrank_tf.models.explain import record_parts
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import FIRST_ROW, PADDING, Schema
from atrank_tf.types import Tensor

_MAKERS: dict[str, Callable[[Any, str], Any]] = {
    "dnn": lambda config, name: DNNHead(config.hidden_units, config.dropout, name=name),
    "wide": lambda config, name: WideHead(name=name),
    "dcn": lambda config, name: DCNHead(config.cross_layers, name=name),
}
"""Name in `CONTEXT_HEADS` -> a function (config, name of the layer) -> a head that reads the context, too: a layer
(user vectors [B, N, D], candidates [B, N, D], context [B, N, D_c] or None) -> logits [B, N]."""


class Heads:
    """Ranking heads of all tasks; a score is the sum of their logits.

    Args:
        schema: a prepared schema.
        config: the model's config.
        tasks: the model's tasks.
    """

    def __init__(self, schema: Schema, config: RankerConfig, tasks: Sequence[str]) -> None:
        self._schema = schema
        self._dot = DotHead(name="dot_head") if "dot" in config.ranking else None
        makers = {name: _MAKERS[name] for name in config.ranking if name in _MAKERS}
        self._heads = {
            task: {name: make(config, f"{name}_head_{task}") for name, make in makers.items()} for task in tasks
        }
        self._bias: dict[str, SparseEmbedding] = {}
        for task in tasks if config.item_bias else ():
            if not self.id_table(task):
                raise ValueError(
                    f"Expected item_bias = false in [model]: entity {self._entity(task)!r}, which task {task!r} ranks, "
                    "has no table for its id, so that no object can have a bias of its own. Received: item_bias = true."
                )
            rows = schema.tables[self.id_table(task)].rows
            self._bias[task] = SparseEmbedding(rows, 1, "zeros", decays=False, name=f"item_bias_{task}")
            self._bias[task].build((None, None))
        chosen = tasks if config.experts != "none" else ()
        self._experts = Experts(config.num_experts, name="experts") if chosen else None
        self._gates = {task: ExpertGate(name=f"expert_gate_{task}") for task in chosen}
        own = chosen if config.experts == "ple" else ()
        self._own_experts = {task: Experts(config.num_experts, name=f"experts_{task}") for task in own}
        self._to_float32 = keras.layers.Activation("linear", dtype="float32", name="logits")

    def item_bias(self, task: str, ids: Tensor) -> Tensor | None:
        """Returns the bias of each object, float, of the shape of `ids`; None without item biases.

        Args:
            task: a task.
            ids: indices of the objects in the table of their ids, int64.
        """
        return ops.squeeze(self._bias[task](ids), axis=-1) if task in self._bias else None

    def logits(
        self, task: str, user: Tensor, candidates: Tensor, parts: Mapping[str, Tensor], context: Sequence[Tensor] = ()
    ) -> Tensor:
        """Returns the scores of a task: the sum of the logits of all heads.

        Args:
            task: a task.
            user: the user vector that each candidate reads, float [B, N, D].
            candidates: their embeddings, float [B, N, D].
            parts: name -> float [B, N], logits that are added besides.
            context: user features, context and counts of the candidates, each float [B, N, D_c].

        Returns:
            float32 [B, N].
        """
        user = self._mix_experts(task, user)
        found = dict(parts)
        if self._dot is not None:
            found["dot"] = self._dot(user, candidates)
        context = [ops.cast(part, user.dtype) for part in context]
        together = ops.concatenate(context, axis=-1) if len(context) > 1 else next(iter(context), None)
        found |= {name: head(user, candidates, together) for name, head in self._heads[task].items()}
        found = {name: self._to_float32(part) for name, part in found.items()}  # Added up in full precision.
        record_parts(found)
        total, *others = found.values()
        for part in others:
            total = total + part
        return total

    def start_at_popularity(self, task: str, positive_counts: np.ndarray, ids: np.ndarray) -> None:
        """Initializes item biases by popularity: see `Ranker.start_at_popularity`.

        Args:
            task: a task.
            positive_counts: positives of each object, [objects].
            ids: index of each object in the table of its ids, int [objects].
        """
        if task not in self._bias or self._bias[task].input_dim == FIRST_ROW:  # No object has a row of its own.
            return
        rows = self._bias[task].input_dim
        objects = np.bincount(ids, minlength=rows)
        mean = np.bincount(ids, weights=positive_counts, minlength=rows) / np.maximum(objects, 1)
        bias = np.log((mean + 1) / (mean[FIRST_ROW:].mean() + 1))
        bias[PADDING] = 0.0
        self._bias[task].embeddings.assign(bias[:, np.newaxis])

    def table_of_weight(self) -> dict[str, str]:
        """Returns the weights with a row for each id of a table: path -> name of the table."""
        return {bias.embeddings.path: self.id_table(task) for task, bias in self._bias.items()}

    def row_names(self, last: Callable[[str], Sequence[str]]) -> dict[str, list[str]]:
        """Returns the weights whose rows stand for names of the schema: path -> name of each row.

        Args:
            last: task -> names of the last numbers of `context`.
        """
        found = {}
        for task, heads in self._heads.items():
            if "dnn" in heads:
                kernel, names = heads["dnn"].dense[0].kernel, last(task)
                found[kernel.path] = [*map(str, range(kernel.shape[0] - len(names))), *names]
        return found

    def id_table(self, task: str) -> str:
        """Returns the table of the ids of a task's candidates."""
        return self._schema.entities[self._entity(task)].id.table

    def _entity(self, task: str) -> str:
        return self._schema.groups[self._schema.tasks[task].group].entity

    def _mix_experts(self, task: str, user: Tensor) -> Tensor:
        """Mixes the experts' outputs for a user vector by the task's gate, [B, N, D] -> [B, N, D]; zeros stay zeros.

        Reference: MMoE (Ma et al., KDD 2018): shared experts; PLE (Tang et al., RecSys 2020): the task's own besides.
        """
        if self._experts is None:
            return user
        experts = self._experts(user)
        if task in self._own_experts:
            experts = ops.concatenate([experts, self._own_experts[task](user)], axis=-2)
        return self._gates[task](user, experts)
