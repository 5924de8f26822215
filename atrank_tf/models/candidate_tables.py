"""Precomputed candidate tables: what is known of all objects that a task ranks, for weights that change no more.

A row replaces lookups of id and side features, pooling and projection; one of popularity, the sums of counts.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from atrank_tf.layers import SparseEmbedding
from atrank_tf.models.candidate_counts import Counts
from atrank_tf.models.ranker import Ranker
from atrank_tf.types import Tensor

LARGEST_BYTES = 1 << 30
"""Of a candidate table, and of all tables of popularity together. What takes more is computed in the forward pass."""
_EMBEDDED_AT_ONCE = 1 << 14


@contextmanager
def precomputed_candidates(model: Ranker, *, popularity: bool = False) -> Iterator[None]:
    """Context in which `encoder`, `scorer` and `explainer` return models with precomputed candidate tables.

    With `popularity` of recent popularity, too: a table for all periods that it counts, far larger than the counts. It
    pays where all objects are scored for many users.

    Example:
        >>> with precomputed_candidates(model):
        ...     scorer = model.scorer("next_purchase")
    """
    of_group: dict[str, SparseEmbedding] = {}
    for task in model.tasks:
        group = model.schema.tasks[task].group  # Tasks of one group embed their candidates alike.
        if model.schema.entities[model.schema.groups[group].entity].rows * model.config.hidden_dim * 4 > LARGEST_BYTES:
            continue
        if group not in of_group:
            of_group[group] = _candidate_table(model, task)
        model.candidate_tables[task] = of_group[group]
    room = LARGEST_BYTES if popularity else 0  # Of all these tables together.
    for counts in model.counts.parts:
        size = counts.rows * (len(counts.begins) + 1) * counts.size * 4
        if size <= room:
            counts.ahead = _PeriodTable(counts)
            room -= size
    try:
        yield
    finally:
        model.candidate_tables.clear()
        for counts in model.counts.parts:
            counts.ahead = None


def _candidate_table(model: Ranker, task: str) -> SparseEmbedding:
    """Returns the embeddings of all objects of a task, float32 [objects, D]."""
    entity = model.schema.entity_of(task)
    count = model.schema.entities[entity].rows
    table = SparseEmbedding(count, model.config.hidden_dim, "zeros", trainable=False, name=f"candidate_table_{task}")
    table.build()
    for start in range(0, count, _EMBEDDED_AT_ONCE):
        ids = ops.arange(start, min(start + _EMBEDDED_AT_ONCE, count), dtype="int64")
        embedding = model.project_candidates(task, model.objects.objects(entity, ids), ids).embedding
        table.embeddings.value.scatter_update(tf.IndexedSlices(ops.cast(embedding, table.variable_dtype), ids))
    return table


class _PeriodTable(keras.layers.Layer):
    """Looks up popularity of an object in the period of a request: a row, where computing it adds up all periods.

    Args:
        counts: what is counted.

    Call arguments:
        ids: int64 [..., N], objects.
        now: int64 [...], Unix seconds.

    Returns:
        float [..., N, C] in the compute dtype.
    """

    def __init__(self, counts: Counts) -> None:
        super().__init__(name=f"{counts.name}_ahead")
        self._begins, self._size = counts.begins, counts.size
        moments = np.append(self._begins[:1] - 1, self._begins)  # One of each period.
        found = np.zeros((counts.rows, len(moments), counts.size), np.float32)
        for start in range(0, counts.rows, _EMBEDDED_AT_ONCE):
            ids = ops.arange(start, min(start + _EMBEDDED_AT_ONCE, counts.rows), dtype="int64")[None]
            for period, moment in enumerate(moments):
                of_period = counts.compute(ids, tf.constant([moment], tf.int64))[0]
                found[start : start + _EMBEDDED_AT_ONCE, period] = of_period
        rows = found.reshape(-1, counts.size)
        self.table = self.add_weight(
            name="table", shape=rows.shape, initializer=lambda *_, **__: rows, trainable=False, autocast=False
        )

    def call(self, ids: Tensor, now: Tensor) -> Tensor:
        period = ops.sum(ops.cast(now[..., None] >= self._begins, "int64"), axis=-1)  # [...]
        rows = ids * (len(self._begins) + 1) + period[..., None]
        return ops.cast(tf.gather(self.table.value, rows), self.compute_dtype)

    def compute_output_spec(self, ids: Tensor, _: Tensor) -> Tensor:
        return keras.KerasTensor((*ids.shape, self._size), dtype=self.compute_dtype)
