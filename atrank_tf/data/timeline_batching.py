"""Batches of whole timelines: the targets of one user, of all tasks, share one history."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from atrank_tf.data.batching import batch_limits, user_inputs, window_indices
from atrank_tf.data.candidates import batch_candidates
from atrank_tf.data.chunk_reading import (
    TrainingBatches,
    chunk_seed,
    epochs,
    read_chunks,
    require_targets,
    sum_over_chunks,
    task_names,
    trained_targets,
)
from atrank_tf.data.records import Records
from atrank_tf.data.targets import (
    SPAN,
    CandidateFunction,
    Chunk,
    Part,
    Targets,
    choose_run,
    history_lengths,
    index_in_user,
    parse,
)
from atrank_tf.data.task_candidates import TaskCandidates
from atrank_tf.experiment import Batching
from atrank_tf.schema import Schema
from atrank_tf.schema.inputs import request_times_name, seen_name
from atrank_tf.types import Tensor

TARGETS_PER_ROW = 128
"""Most targets of a row: what a longer timeline has is divided into several rows, each with its own history."""
BATCHES_PER_CHUNK = 16
"""Batches that the behaviors of a chunk fill at least. If they were few, one of these few would be the rest at its end,
and rows of other lengths would share the others, and be padded."""


class TimelineRows(NamedTuple):
    """S rows of targets of several tasks.

    `first`, `number`: task -> int64 [S], the index of a row's first target among those of the task, and how many there
    are. `history`: Targets [S], one for each row: its history is all that any target of the row sees.
    """

    first: Mapping[str, Tensor]
    number: Mapping[str, Tensor]
    history: Targets


def timeline_batches(
    records: Records,
    *,
    tasks: Sequence[str] | None = None,
    settings: Batching | None = None,
    seed: int = 0,
    part: Part = Part.TRAINING,
    agree: Callable[[Sequence[int]], Sequence[int]] = list,
) -> TrainingBatches:
    """Returns training batches of whole timelines, for a model that trains on all their targets at once.

    As `training_batches`, but a row of a batch is one user's timeline with the targets of all tasks, P_t of each: a
    history is encoded once for all of them. In place of `now` there are `<task>__now` int64 [B, P_t] and
    `<task>__<group>__seen` int64 [B, P_t] (how many of a group's behaviors each target sees); candidates, labels and
    weights are [B, P_t, N]. Batches have about `settings.batch_tokens` positions for behaviors, so that their number of
    rows varies. Under `targets_per_user` a user's targets of an epoch are neighbors in time.

    Raises:
        ValueError: as `training_batches`; or a `temperature`, since the tasks have no batches of their own.
    """
    settings = settings or Batching()
    if settings.temperature != 1:
        raise ValueError(
            "Expected temperature = 1: a model trained on timelines has the targets of all tasks in each batch, and "
            f"[training.task_weights] weighs them. Received: temperature={settings.temperature} in [batching]."
        )
    names = task_names(records.schema, tasks)
    counts = agree(_count(records, names, part, settings, seed))
    require_targets(dict(zip(names, counts, strict=True)), settings.min_history)

    def one_epoch(seeds: Tensor) -> tf.data.Dataset:
        return _batches(records, names, part, settings, seeds)

    return epochs(one_epoch, max(counts), seed=seed)


def _batches(records: Records, tasks: Sequence[str], part: Part, settings: Batching, seeds: Tensor) -> tf.data.Dataset:
    schema = records.schema
    candidates = {name: TaskCandidates(records, name, settings, trains=True) for name in tasks}

    def chunk_batches(chunk_number: Tensor, serialized: Tensor) -> tf.data.Dataset:
        drawn = chunk_seed(seeds, chunk_number)
        chunk = parse(serialized, schema)
        targets = _targets(chunk, schema, tasks, part, settings, drawn)
        of_chunk = {name: each.of_chunk(chunk, serialized) for name, each in candidates.items()}
        rows = timeline_rows(targets, drawn)
        order, limits = _divided(rows, settings, drawn)

        def batch(limit: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
            def negatives(task: str, picked: Targets) -> Tensor | None:
                seed = drawn + limit + (tasks.index(task) << 40)  # Each task has draws of its own.
                return of_chunk[task].draw(picked, seed, settings.batch_tokens)

            computed = {name: each.computed for name, each in of_chunk.items()}
            return timeline_batch(chunk, schema, targets, negatives, rows, order[limit[0] : limit[1]], computed)

        limits = tf.data.Dataset.from_tensor_slices(limits)
        return limits.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    return read_chunks(records, part, seeds, _users_per_chunk(records, settings)).flat_map(chunk_batches)


def _users_per_chunk(records: Records, settings: Batching) -> int:
    """Returns how many users have the behaviors of `BATCHES_PER_CHUNK` batches of all workers together."""
    tokens = BATCHES_PER_CHUNK * settings.batch_tokens * records.share[1]
    behaviors = sum(records.manifest["behaviors"][name] for name in records.schema.groups)
    return tokens * records.manifest["users"] // max(1, behaviors)


def _targets(
    chunk: Chunk, schema: Schema, tasks: Sequence[str], part: Part, settings: Batching, seed: Tensor
) -> dict[str, Targets]:
    """Returns the training targets of a chunk that one pass takes, of each user and task neighbors in time."""
    # One draw for all tasks of a user, so that their targets are about the same part of the timeline.
    draw = tf.random.stateless_uniform(tf.shape(chunk.user_id), seed, dtype=tf.float64)
    return {
        name: choose_run(trained_targets(chunk, schema, name, part, settings), settings.targets_per_user, draw)
        for name in tasks
    }


def _count(records: Records, tasks: Sequence[str], part: Part, settings: Batching, seed: int) -> list[int]:
    """Returns the number of batches, for each task: 0 for one that has no target."""

    def count(_: Tensor, serialized: Tensor, drawn: Tensor) -> Tensor:
        targets = _targets(parse(serialized, records.schema), records.schema, tasks, part, settings, drawn)
        limits = _divided(timeline_rows(targets, drawn), settings, drawn)[1]
        return tf.stack([tf.shape(limits, tf.int64)[0], *(tf.size(each.user, tf.int64) for each in targets.values())])

    users = _users_per_chunk(records, settings)
    batches, *found = sum_over_chunks(records, part, seed, count, users).tolist()
    return [batches if of_task else 0 for of_task in found]


def _divided(rows: TimelineRows, settings: Batching, seed: Tensor) -> tuple[Tensor, Tensor]:
    tokens = settings.batch_tokens
    return batch_limits(row_lengths(rows), tokens=tokens, rows=tokens, seed=seed)


def timeline_rows(targets: Mapping[str, Targets], seed: Tensor) -> TimelineRows:
    """Divides the targets of each user, in time order, into rows.

    A timeline of more than `TARGETS_PER_ROW` targets is cut, at indices that are drawn anew. Each is also cut where the
    histories of two neighbors have nothing in common but leave out what lies between them.

    Args:
        targets: task -> its targets, those of a user in time order.
        seed: int64 [2].
    """
    joined = tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *targets.values())
    task = tf.repeat(tf.range(len(targets)), [tf.size(each.user) for each in targets.values()])
    order = tf.argsort(joined.user * SPAN + joined.request_time, stable=True)
    joined, task = joined.take(order), tf.gather(task, order)
    index, of_user = index_in_user(joined.user), tf.math.bincount(tf.cast(joined.user, tf.int32), dtype=tf.int64)
    long = tf.gather(of_user, joined.user) > TARGETS_PER_ROW
    shift = tf.random.stateless_uniform([], seed, 0, TARGETS_PER_ROW, tf.int64)
    begins = (index == 0) | (long & ((index + shift) % TARGETS_PER_ROW == 0)) | _apart(joined)
    first = tf.where(begins)[:, 0]
    row = tf.cumsum(tf.cast(begins, tf.int64)) - 1
    counts = {name: tf.math.segment_sum(tf.cast(task == number, tf.int64), row) for number, name in enumerate(targets)}
    history = joined.take(first)._replace(
        starts={name: tf.math.segment_min(values, row) for name, values in joined.starts.items()},
        ends={name: tf.math.segment_max(values, row) for name, values in joined.ends.items()},
    )
    return TimelineRows({name: tf.cumsum(count, exclusive=True) for name, count in counts.items()}, counts, history)


def row_lengths(rows: TimelineRows) -> Tensor:
    """Returns the positions that a row takes in a batch, int64 [S]: its behaviors, or its targets if they are more."""
    return tf.maximum(history_lengths(rows.history), tf.add_n(list(rows.number.values())))


def timeline_batch(
    chunk: Chunk,
    schema: Schema,
    targets: Mapping[str, Targets],
    negatives: Callable[[str, Targets], Tensor | None],
    rows: TimelineRows,
    chosen: Tensor,
    computed: Mapping[str, Mapping[str, CandidateFunction]],
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Returns the rows `chosen` (int64 [B]) as a batch.

    Args:
        chunk: the chunk.
        schema: the schema.
        targets: task -> the targets that the rows are of.
        negatives: a function (task, M targets of it) -> entity rows int64 [M, n]; None of impressions.
        rows: all rows.
        chosen: which of them.
        computed: task -> name of an input -> what computes it of targets and candidates.

    Returns:
        inputs (histories as ever; for each task of `targets`, with P_t targets of it in the row that has most:
        `<task>__now` int64 [B, P_t], `<task>__<group>__seen` int64 [B, P_t], `<task>__candidates` int64 [B, P_t, N] and
        its context), and task -> labels float32 [B, P_t, N], task -> weights float32 [B, P_t, N]: 0 on padding.
    """
    history = rows.history.take(chosen)
    inputs, labels, weights = user_inputs(chunk, history), {}, {}
    for task in targets:
        first, count = tf.gather(rows.first[task], chosen), tf.gather(rows.number[task], chosen)
        indices, mask = window_indices(first, first + count)  # [B, P]
        real, shape = tf.where(mask), tf.shape(mask, tf.int64)
        picked = targets[task].take(tf.gather_nd(indices, real))
        drawn = negatives(task, picked)
        own, own_labels, own_weights = batch_candidates(chunk, picked, schema, task, drawn, computed[task])
        inputs |= {name: _unfold(values, real, shape) for name, values in own.items()}
        labels[task], weights[task] = (_unfold(each, real, shape) for each in (own_labels, own_weights))
        inputs[request_times_name(task)] = _unfold(picked.request_time, real, shape)
        for name in schema.groups:
            seen = picked.ends[name] - tf.gather(history.starts[name], real[:, 0])
            inputs[seen_name(task, name)] = _unfold(seen, real, shape)
    return inputs, labels, weights


def _unfold(values: Tensor, real: Tensor, shape: Tensor) -> Tensor:
    """Returns values of targets, [M, ...], at their places in a batch, [B, P, ...], 0 where there is no target.

    Args:
        values: of the targets.
        real: int64 [M, 2], their places.
        shape: int64 [2], B and P.
    """
    return tf.scatter_nd(real, values, tf.concat([shape, tf.shape(values, tf.int64)[1:]], axis=0))


def _apart(targets: Targets) -> Tensor:
    """Returns which targets' histories have no behavior of the one's before, and leave some out between, bool [M]."""
    gaps = [targets.starts[name][1:] - targets.ends[name][:-1] for name in targets.ends]
    left_out = tf.add_n([tf.maximum(gap, 0) for gap in gaps])
    shared = tf.add_n([tf.maximum(-gap, 0) for gap in gaps])
    apart = (left_out > 0) & (shared == 0)
    return tf.concat([tf.zeros([1], tf.bool), apart], axis=0)[: tf.size(targets.user)]
