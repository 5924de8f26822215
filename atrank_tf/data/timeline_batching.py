"""Targets -> batches of timelines: the targets of one user share one history."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from atrank_tf.data import batching
from atrank_tf.data.chunk import Chunk
from atrank_tf.data.targets import Targets, place_in_user
from atrank_tf.schema import Schema

TARGETS_PER_ROW = 128
"""Most targets of a row: what a longer timeline has is divided into several rows, each with its own history."""


class Rows(NamedTuple):
    """S rows of targets that stand together in M targets of a chunk.

    `first`, `count`: int64 [S], the place of a row's first target, and how many there are.
    `history`: Targets [S], one for each row: its history is all that any target of the row sees.
    """

    first: Any
    count: Any
    history: Targets


def timeline_rows(targets: Targets, seed: Any) -> Rows:
    """Divides the targets of each user, in time order, into rows; where a long timeline is cut is drawn anew.

    `seed`: int64 [2].
    """
    count = tf.size(targets.user, tf.int64)
    place = place_in_user(targets.user)
    shift = tf.random.stateless_uniform([], seed, 0, TARGETS_PER_ROW, tf.int64)
    first = tf.where((place == 0) | ((place + shift) % TARGETS_PER_ROW == 0))[:, 0]
    ends = tf.concat([first[1:], count[tf.newaxis]], axis=0)[: tf.size(first)]
    begin, last = targets.take(first), targets.take(ends - 1)
    return Rows(first, ends - first, last._replace(starts=begin.starts))


def row_lengths(rows: Rows) -> Any:
    """Returns the places that a row takes in a batch, int64 [S]: its behaviors, or its targets if they are more."""
    behaviors = tf.add_n([rows.history.ends[name] - rows.history.starts[name] for name in rows.history.ends])
    return tf.maximum(behaviors, rows.count)


def timeline_batch(
    chunk: Chunk, schema: Schema, task: str, targets: Targets, negatives: Callable[[Any], Any], rows: Rows, chosen: Any
) -> tuple[dict[str, Any], Any, Any]:
    """Returns the rows `chosen` (int64 [B]) as a batch.

    Args:
        chunk: the chunk.
        schema: the schema.
        task: the task.
        targets: the M targets that the rows are of.
        negatives: a function (user int64 [M]) -> entity rows int64 [M, n]; of impressions, -> None.
        rows: all rows.
        chosen: which of them.

    Returns:
        inputs (histories as ever, but `now` int64 [B, P]; `<group>_seen` int64 [B, P]; `<task>_candidates` int64
        [B, P, N] and its context), labels float32 [B, P, N], weights float32 [B, P, N]: 0 on padding.
    """
    first, count = tf.gather(rows.first, chosen), tf.gather(rows.count, chosen)
    history = rows.history.take(chosen)
    places, mask = batching.windows(first, first + count)  # [B, P]
    flat = tf.reshape(tf.where(mask, places, tf.zeros_like(places)), [-1])
    picked = targets.take(flat)
    inputs, labels, weights = batching.candidate_inputs(chunk, picked, schema, task, negatives(picked.user))
    real = tf.reshape(mask, [-1])
    shape = tf.shape(mask)

    def unfold(values: Any) -> Any:
        """[B * P, ...] -> [B, P, ...], 0 where there is no target."""
        kept = tf.where(tf.reshape(real, [-1, *[1] * (values.shape.rank - 1)]), values, tf.zeros_like(values))
        return tf.reshape(kept, tf.concat([shape, tf.shape(values)[1:]], axis=0))

    inputs = {name: unfold(values) for name, values in inputs.items()}
    inputs |= batching.history_inputs(chunk, history)
    inputs["now"] = unfold(picked.now)
    for name in schema.groups:
        seen = picked.ends[name] - tf.repeat(history.starts[name], shape[1])
        inputs[f"{name}_seen"] = unfold(seen)
    return inputs, unfold(labels), unfold(weights)
