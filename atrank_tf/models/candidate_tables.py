"""Precomputed candidate tables: the embeddings of all objects that a task ranks, for weights that change no more.

A row replaces lookups of id and side features, pooling and projection.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
from keras import ops

from atrank_tf.layers import SparseEmbedding
from atrank_tf.models.ranker import Ranker

LARGEST_BYTES = 1 << 30
"""Largest precomputed candidate table that an export holds. Beyond, candidates are embedded in the forward pass."""
_EMBEDDED_AT_ONCE = 1 << 14


@contextmanager
def precomputed_candidates(model: Ranker) -> Iterator[None]:
    """Context in which `encoder`, `scorer` and `explainer` return models with precomputed candidate tables.

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
    try:
        yield
    finally:
        model.candidate_tables.clear()


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
