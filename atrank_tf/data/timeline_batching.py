"""Targets -> batches of timelines: the targets of one user, of all tasks, share one history."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from atrank_tf.data import batching
from atrank_tf.data.chunk import SPAN, Chunk
from atrank_tf.data.targets import Targets, place_in_user
from atrank_tf.schema import Schema
from atrank_tf.schema.inputs import request_times_name, seen_name

TARGETS_PER_ROW = 128
"""Most targets of a row: what a longer timeline has is divided into several rows, each with its own history."""


class Rows(NamedTuple):
    """S rows of targets of several tasks.

    `first`, `number`: task -> int64 [S], the place of a row's first target among those of the task, and how many there
    are. `history`: Targets [S], one for each row: its history is all that any target of the row sees.
    """

    first: Mapping[str, Any]
    number: Mapping[str, Any]
    history: Targets


def timeline_rows(targets: Mapping[str, Targets], seed: Any) -> Rows:
    """Divides the targets of each user, in time order, into rows.

    A timeline of more than `TARGETS_PER_ROW` targets is cut, at places that are drawn anew. Each is also cut where the
    histories of two neighbors have nothing in common but leave out what lies between them.

    Args:
        targets: task -> its targets, those of a user in time order.
        seed: int64 [2].
    """
    joined = tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *targets.values())
    task = tf.repeat(tf.range(len(targets)), [tf.size(each.user) for each in targets.values()])
    order = tf.argsort(joined.user * SPAN + joined.now, stable=True)
    joined, task = joined.take(order), tf.gather(task, order)
    place, of_user = place_in_user(joined.user), tf.math.bincount(tf.cast(joined.user, tf.int32), dtype=tf.int64)
    long = tf.gather(of_user, joined.user) > TARGETS_PER_ROW
    shift = tf.random.stateless_uniform([], seed, 0, TARGETS_PER_ROW, tf.int64)
    begins = (place == 0) | (long & ((place + shift) % TARGETS_PER_ROW == 0)) | _apart(joined)
    first = tf.where(begins)[:, 0]
    row = tf.cumsum(tf.cast(begins, tf.int64)) - 1
    counts = {name: tf.math.segment_sum(tf.cast(task == number, tf.int64), row) for number, name in enumerate(targets)}
    history = joined.take(first)._replace(
        starts={name: tf.math.segment_min(values, row) for name, values in joined.starts.items()},
        ends={name: tf.math.segment_max(values, row) for name, values in joined.ends.items()},
    )
    return Rows({name: tf.cumsum(count, exclusive=True) for name, count in counts.items()}, counts, history)


def row_lengths(rows: Rows) -> Any:
    """Returns the places that a row takes in a batch, int64 [S]: its behaviors, or its targets if they are more."""
    behaviors = tf.add_n([rows.history.ends[name] - rows.history.starts[name] for name in rows.history.ends])
    return tf.maximum(behaviors, tf.add_n(list(rows.number.values())))


def timeline_batch(
    chunk: Chunk,
    schema: Schema,
    targets: Mapping[str, Targets],
    negatives: Mapping[str, Callable[[Any], Any]],
    rows: Rows,
    chosen: Any,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Returns the rows `chosen` (int64 [B]) as a batch.

    Args:
        chunk: the chunk.
        schema: the schema.
        targets: task -> the targets that the rows are of.
        negatives: task -> a function (user int64 [M]) -> entity rows int64 [M, n]; of impressions, -> None.
        rows: all rows.
        chosen: which of them.

    Returns:
        inputs (histories as ever; for each task of `targets`, with P_t targets of it in the row that has most:
        `<task>/now` int64 [B, P_t], `<task>/<group>_seen` int64 [B, P_t], `<task>_candidates` int64 [B, P_t, N] and
        its context), and task -> labels float32 [B, P_t, N], task -> weights float32 [B, P_t, N]: 0 on padding.
    """
    history = rows.history.take(chosen)
    inputs, labels, weights = batching.user_inputs(chunk, history), {}, {}
    for task in targets:
        first, count = tf.gather(rows.first[task], chosen), tf.gather(rows.number[task], chosen)
        places, mask = batching.windows(first, first + count)  # [B, P]
        real, shape = tf.where(mask), tf.shape(mask, tf.int64)
        picked = targets[task].take(tf.gather_nd(places, real))

        def unfold(values: Any, real: Any = real, shape: Any = shape) -> Any:
            """[targets, ...] -> [B, P, ...], 0 where there is no target."""
            return tf.scatter_nd(real, values, tf.concat([shape, tf.shape(values, tf.int64)[1:]], axis=0))

        own, own_labels, own_weights = batching.candidate_inputs(
            chunk, picked, schema, task, negatives[task](picked.user)
        )
        inputs |= {name: unfold(values) for name, values in own.items()}
        labels[task], weights[task] = unfold(own_labels), unfold(own_weights)
        inputs[request_times_name(task)] = unfold(picked.now)
        for name in schema.groups:
            seen = picked.ends[name] - tf.gather(history.starts[name], real[:, 0])
            inputs[seen_name(task, name)] = unfold(seen)
    return inputs, labels, weights


def _apart(targets: Targets) -> Any:
    """Returns which targets' histories have no behavior of the one's before, and leave some out between, bool [M]."""
    gaps = [targets.starts[name][1:] - targets.ends[name][:-1] for name in targets.ends]
    left_out = tf.add_n([tf.maximum(gap, 0) for gap in gaps])
    shared = tf.add_n([tf.maximum(-gap, 0) for gap in gaps])
    apart = (left_out > 0) & (shared == 0)
    return tf.concat([tf.zeros([1], tf.bool), apart], axis=0)[: tf.size(targets.user)]
