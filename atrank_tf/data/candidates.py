"""Candidates of requests: what was shown, or a positive with sampled negatives that are drawn anew each epoch."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import tensorflow as tf

from atrank_tf.data.batching import gather_padded, window_indices
from atrank_tf.data.catalog import Catalog
from atrank_tf.data.excluded import Excluded
from atrank_tf.data.own_history import OwnHistory
from atrank_tf.data.targets import CandidateFunction, Chunk, Targets, first_at_least
from atrank_tf.experiment import Batching
from atrank_tf.schema import FIRST_ROW, PADDING, Candidates, Negatives, Schema, Task
from atrank_tf.schema.inputs import candidate_specs, candidates_name, context_name, log_rate_name
from atrank_tf.types import Tensor

ROUNDS = 50
"""How often a rejected draw is repeated before its candidate is left empty."""
RARE = 1e-9
"""Rate of an object that is never drawn: one that nobody chose, where all negatives are drawn by popularity."""


class NegativeSampler:
    """Draws negatives.

    Args:
        catalog: catalog of the task's entity; its counts say what was seen in training, and how often.
        negatives: how many to draw, and how.

    Raises:
        ValueError: the catalog has no object to draw.
    """

    def __init__(self, catalog: Catalog, negatives: Negatives) -> None:
        seen = np.flatnonzero(catalog.counts)
        uniform = np.arange(FIRST_ROW, len(catalog)) if negatives.unseen else seen
        self._evenly = negatives.uniform + negatives.history  # Where there is no history.
        for kind, ids, number in (("uniform", uniform, self._evenly), ("popularity", seen, negatives.popularity)):
            if number and not len(ids):
                raise ValueError(
                    f"Expected objects to draw {kind} negatives from. Found none in the catalog"
                    + (" that training has seen: see [split] of the schema." if ids is seen else ".")
                )
        self._ids = tf.constant(uniform, tf.int64)
        self._seen = tf.constant(seen, tf.int64)
        self._cumulative = tf.constant(np.cumsum(catalog.counts[seen]), tf.int64)
        self._total = float(catalog.counts.sum())
        self._shares = tf.constant(catalog.counts / max(1, catalog.counts.sum()), tf.float32)
        self._negatives = negatives

    def draw(
        self, excluded: Excluded, history: OwnHistory | None, targets: Targets, seed: Tensor, pool: int = 0
    ) -> Tensor:
        """Draws negatives for M targets.

        Args:
            excluded: what may not be drawn.
            history: what negatives of the kind "history" are drawn from; None if there are none.
            targets: the targets.
            seed: int64 [2].
            pool: how many draws all negatives of other kinds are picked from, so that they are few different objects;
                0 for a draw of its own for each.

        Returns:
            Ids (rows of the catalog), int64 [M, negatives]: first those of uniform draws, then of history and of
            popularity. `PADDING` where what is excluded leaves nothing to draw.
        """
        ids = self._from_catalog(excluded, targets, seed, pool)
        if history is None:
            return ids
        # Not the numbers that targets and batches are drawn by.
        own_seed = tf.random.experimental.stateless_fold_in(seed, 2)
        own = history.draw(excluded, targets, self._negatives.history, own_seed)
        before, fallback, behind = tf.split(ids, [self._negatives.uniform, self._negatives.history, -1], axis=1)
        return tf.concat([before, tf.where(own == PADDING, fallback, own), behind], axis=1)

    def log_rates(self, excluded: Excluded, history: OwnHistory | None, targets: Targets, ids: Tensor) -> Tensor:
        """Returns the log of how often each object is expected among the negatives of a target.

        What `draw` cannot find (what is excluded, or what uniform draws leave out) has the rate that it would have if
        it could: a positive has one, too.

        Args:
            excluded, history, targets: as in `draw`.
            ids: int64 [M, n]; at `PADDING` anything.

        Returns:
            float32 [M, n].

        Reference:
            Bengio and Senecal, "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
            Model" (IEEE Trans. Neural Networks, 2008); log Q of `tf.nn.sampled_softmax_loss`.
        """
        kinds, number = self._negatives, tf.cast(self._evenly, tf.float32)
        rates = tf.zeros(tf.shape(ids), tf.float32)
        if history is not None:
            rates, found = history.expected(excluded, targets, kinds.history, ids)
            number = number - found[:, tf.newaxis]  # The others are drawn evenly.
        if self._evenly:
            rates += number / tf.cast(tf.size(self._ids), tf.float32)
        if kinds.popularity:
            rates += kinds.popularity * tf.gather(self._shares, ids)
        return tf.math.log(tf.maximum(rates, RARE))

    def _from_catalog(self, excluded: Excluded, targets: Targets, seed: Tensor, pool: int) -> Tensor:
        """Returns uniform draws, also in place of history, and those by popularity."""
        width = self._negatives.total
        owners = excluded.owners(targets)
        shape = tf.stack([tf.size(owners), width])
        pooled = self._propose([max(1, pool // width), width], seed) if pool else None

        def propose(seed: Tensor) -> Tensor:
            if pooled is None:
                return self._propose(shape, seed)
            indices = tf.random.stateless_uniform(shape, seed + 1, 0, tf.shape(pooled, tf.int64)[0], tf.int64)
            return _gather_by_column(pooled, indices)

        def redraw(turn: Tensor, ids: Tensor, bad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            ids = tf.where(bad, propose(seed + tf.stack([tf.constant(0, tf.int64), turn])), ids)
            return turn + 1, ids, excluded.contain(owners, ids)

        empty = tf.zeros(shape, tf.int64)
        _, ids, bad = tf.while_loop(
            lambda turn, ids, bad: tf.logical_and(turn < ROUNDS, tf.reduce_any(bad)),
            redraw,
            (tf.constant(0, tf.int64), empty, tf.ones_like(empty, tf.bool)),
        )
        return tf.where(bad, tf.constant(PADDING, tf.int64), ids)

    def _propose(self, shape: Tensor, seed: Tensor) -> Tensor:
        draw = tf.random.stateless_uniform(shape, seed, dtype=tf.float64)
        evenly = tf.cast(draw[:, : self._evenly] * tf.cast(tf.size(self._ids), tf.float64), tf.int64)
        weight = tf.cast(draw[:, self._evenly :] * self._total, tf.int64)
        # The first index whose cumulative count is above the drawn weight.
        by_count = tf.reshape(first_at_least(self._cumulative, tf.reshape(weight, [-1]) + 1), tf.shape(weight))
        return tf.concat([_at(self._ids, evenly), _at(self._seen, by_count)], axis=1)


def _at(ids: Tensor, indices: Tensor) -> Tensor:
    """Returns `ids[indices]`; an index that rounding took past the end is the last."""
    return tf.gather(ids, tf.minimum(indices, tf.size(ids, tf.int64) - 1))


def _gather_by_column(ids: Tensor, indices: Tensor) -> Tensor:
    """Returns `ids[indices[m, c], c]`: ids [S, C], indices [M, C]."""
    columns = ids.shape[1]
    return tf.gather(tf.reshape(ids, [-1]), indices * columns + tf.range(columns, dtype=tf.int64))


def has_log_rates(task: Task, settings: Batching) -> bool:
    """Returns whether training subtracts from the logits of a task's candidates what `training_log_rates` computes."""
    if task.candidates is not Candidates.SAMPLED:
        return False
    return settings.correct_sampling or training_negatives(task.negatives, settings).total != task.negatives.total


def training_log_rates(
    task: Task, settings: Batching, sampler: NegativeSampler, excluded: Excluded, history: OwnHistory | None
) -> CandidateFunction:
    """Returns what computes the log of how often training draws a candidate, for each time that its score is for.

    With `correct_sampling` scores are for a world in which each object is drawn once. Without it they are for as many
    negatives as the schema says, so that probabilities hold there however many training draws.

    Args:
        task: a task of which `has_log_rates` is true.
        settings: sizes of the batches of training.
        sampler: of the negatives of training.
        excluded, history: as `NegativeSampler.draw` takes them.

    Reference:
        King and Zeng, "Logistic Regression in Rare Events Data" (Political Analysis, 2001): prior correction.
    """
    if settings.correct_sampling:
        return partial(sampler.log_rates, excluded, history)
    log_rate = tf.constant(log_training_rate(task, settings), tf.float32)
    return lambda targets, ids: tf.fill(tf.shape(ids), log_rate)


def log_training_rate(task: Task, settings: Batching) -> float:
    """Returns the log of how many negatives of a task training draws for each that the schema says."""
    return math.log(training_negatives(task.negatives, settings).total / task.negatives.total)


def training_negatives(declared: Negatives, settings: Batching) -> Negatives:
    """Returns the negatives of training: as many as the settings say, divided between the kinds as declared."""
    if not settings.negatives:
        return declared
    uniform = round(settings.negatives * declared.uniform / declared.total)
    # Of a sum rounded, not a sum of what is rounded: so a kind that is not declared gets none.
    with_history = round(settings.negatives * (declared.uniform + declared.history) / declared.total)
    popularity = settings.negatives - with_history
    return replace(declared, uniform=uniform, history=with_history - uniform, popularity=popularity)


def batch_candidates(
    chunk: Chunk,
    targets: Targets,
    schema: Schema,
    task_name: str,
    negatives: Tensor | None,
    computed: Mapping[str, CandidateFunction],
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Returns the candidates of each target.

    Args:
        chunk: the chunk.
        targets: B targets.
        schema: the schema.
        task_name: the task.
        negatives: ids, int64 [B, n]; None for impressions.
        computed: name of an input -> what computes it of the targets and their candidates, as affinity.

    Returns:
        the inputs of `candidate_specs`, labels float32 [B, N], weights float32 [B, N]: 0 on padding. A sampled request
        has its positive first.
    """
    task = schema.tasks[task_name]
    if task.candidates is Candidates.SAMPLED:
        positive = tf.gather(chunk.groups[task.group].id, targets.index)[:, tf.newaxis]
        candidates = tf.concat([positive, negatives], axis=1)
        labels = tf.concat([tf.ones_like(positive, tf.float32), tf.zeros_like(negatives, tf.float32)], axis=1)
        inputs = {candidates_name(task_name): candidates}
        inputs |= {name: compute(targets, candidates) for name, compute in computed.items()}
        return inputs, labels, tf.cast(candidates > 0, tf.float32)
    requests = chunk.requests[task_name]
    indices, mask = window_indices(tf.gather(requests.starts, targets.index), tf.gather(requests.ends, targets.index))
    candidates = gather_padded(requests.id, indices, mask)
    inputs = {candidates_name(task_name): candidates}
    inputs |= {name: compute(targets, candidates) for name, compute in computed.items()}
    for column, values in requests.context.items():
        inputs[context_name(task_name, column)] = gather_padded(values, indices, mask)
    return inputs, gather_padded(tf.cast(requests.label, tf.float32), indices, mask), tf.cast(mask, tf.float32)


def no_candidates(
    schema: Schema, task_name: str, rows: Tensor, with_rates: bool
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Returns `batch_candidates` of a task that has no candidates in this batch: N = 0; `rows` is B."""
    inputs = {
        spec.name: tf.zeros([rows, *(0 if size is None else size for size in spec.shape)], spec.dtype)
        for spec in candidate_specs(schema, task_name)
    }
    empty = tf.zeros([rows, 0], tf.float32)
    if with_rates:
        inputs[log_rate_name(task_name)] = empty
    return inputs, empty, empty
