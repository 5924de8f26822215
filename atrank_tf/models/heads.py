"""Ranking heads and item biases of all tasks: user vector and candidate in, score out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from atrank_tf.experiment import RankerConfig
from atrank_tf.layers import CountNormalization, DNNHead, DotHead, SparseEmbedding
from atrank_tf.models.explain import record_parts
from atrank_tf.models.object_embedder import hashed_rows
from atrank_tf.schema import Schema
from atrank_tf.types import Tensor


class CandidateEmbedding(NamedTuple):
    """What heads read of candidates.

    Args:
        embedding: float [..., D].
        bias: float [...], the item bias of each; None for a task without.
    """

    embedding: Tensor
    bias: Tensor | None


class KnownOfCandidates(NamedTuple):
    """What heads read besides user vector and candidate: parts that they concatenate, each None if there is none.

    Args:
        context: embeddings of user features and of the candidates' context, float [..., D_c].
        counts: numbers that are counted of the candidates, float [..., C].
    """

    context: Sequence[Tensor | None] = ()
    counts: Sequence[Tensor | None] = ()


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
        self._dnn = {
            task: DNNHead(config.hidden_units, name=f"dnn_head_{task}") for task in tasks if "dnn" in config.ranking
        }
        self._normalize = {
            task: CountNormalization(name=f"count_normalization_{task}")
            for task in self._dnn
            if config.normalize_counts
        }
        self._bias: dict[str, SparseEmbedding] = {}
        self._hashed = hashed_rows(schema, "bias")
        for task in tasks if config.item_bias else ():
            if table := self.id_table(task):
                rows = schema.tables[table].rows
                self._bias[task] = SparseEmbedding(rows, 1, "zeros", decays=False, name=f"item_bias_{task}")
                self._bias[task].build((None, None))
        self._to_float32 = keras.layers.Activation("linear", dtype="float32", name="logits")

    def item_bias(self, task: str, ids: Tensor) -> Tensor | None:
        """Returns the bias of each object, float, of the shape of `ids`; None without item biases, or a table of ids.

        Args:
            task: a task.
            ids: indices of the objects in the table of their ids, or their codes, int64.
        """
        if task not in self._bias:
            return None
        if hashed := self._hashed.get(self.id_table(task)):
            return ops.sum(self._bias[task](hashed(ids)), axis=(-2, -1))
        return ops.squeeze(self._bias[task](ids), axis=-1)

    def logits(self, task: str, user: Tensor, candidates: CandidateEmbedding, known: KnownOfCandidates) -> Tensor:
        """Returns the scores of a task: the sum of the item bias and the logits of all heads.

        Args:
            task: a task.
            user: the user vector that each candidate reads, float [B, N, D].
            candidates: [B, N].
            known: what else is known of them, [B, N].

        Returns:
            float32 [B, N].
        """
        found = {} if candidates.bias is None else {"item_bias": candidates.bias}
        if self._dot is not None:
            found["dot"] = self._dot(user, candidates.embedding)
        if task in self._dnn:
            context, counts = _together(known.context, user.dtype), _together(known.counts, "float32")
            if counts is not None and task in self._normalize:
                counts = self._normalize[task](counts)
            found["dnn"] = self._dnn[task](user, candidates.embedding, context, counts)
        found = {name: self._to_float32(part) for name, part in found.items()}  # Added up in full precision.
        record_parts(found)
        total, *others = found.values()
        for part in others:
            total = total + part
        return total

    def adapt(self, counts: Mapping[str, np.ndarray]) -> None:
        """Measures the scale of what is counted of candidates: task of `normalized` -> float [M, C], M at least 1."""
        for task, numbers in counts.items():
            self._normalize[task].adapt(numbers)

    @property
    def normalized(self) -> list[str]:
        """The tasks whose counts are put on one scale."""
        return [task for task, layer in self._normalize.items() if layer.built]

    @property
    def scales(self) -> list[Any]:
        """The weights that `adapt` sets."""
        return [weight for task in self.normalized for weight in self._normalize[task].weights]

    def table_of_weight(self) -> dict[str, str]:
        """Returns the weights with a row for each id of a table: path -> name of the table."""
        return {bias.embeddings.path: self.id_table(task) for task, bias in self._bias.items()}

    def row_names(self, last: Callable[[str], Sequence[str]]) -> dict[str, list[str]]:
        """Returns the weights whose rows stand for names of the schema: path -> name of each row.

        Args:
            last: task -> names of the last counts.
        """
        found = {}
        for task, head in self._dnn.items():
            names = last(task)
            scale = self._normalize[task].weights if task in self._normalize else []
            for weight in (head.dense[0].kernel, *scale):
                found[weight.path] = [*map(str, range(weight.shape[0] - len(names))), *names]
        return found

    def id_table(self, task: str) -> str:
        """Returns the table of the ids of a task's candidates, or ""."""
        return self._schema.entities[self._schema.entity_of(task)].id.table


def _together(parts: Sequence[Tensor | None], dtype: str) -> Tensor | None:
    """Concatenates those of the parts that are there along the last axis; None if none is."""
    found = [ops.cast(part, dtype) for part in parts if part is not None]
    return ops.concatenate(found, axis=-1) if len(found) > 1 else next(iter(found), None)
