"""The best objects of a whole catalog for each user, found by scoring it chunk by chunk."""

from collections.abc import Callable

import tensorflow as tf

from atrank_tf.schema import FIRST_ROW
from atrank_tf.types import Tensor

_MOST_PAIRS = 1 << 23
"""Most pairs of a user and an object that one request may ask for; whatever the catalog, one user may."""
_MOST_ASKED = 10_000
"""Largest k: the best so far are sorted again with each chunk."""
_PAIRS_AT_ONCE = 1 << 12
"""Pairs that are scored at a time: what bounds the memory."""
_CHUNKS_AT_ONCE = 2
"""Chunks on their way together: what in one of them is not parallel runs beside the other."""


def chunk_width(users: Tensor) -> Tensor:
    """Returns how many objects are scored at a time for each of so many users."""
    return tf.maximum(_PAIRS_AT_ONCE // tf.maximum(users, 1), 1)


def asked_checks(k: Tensor, objects: int) -> list[tf.Operation]:
    """Returns the checks of how many objects each user asks for, k int64 [B], and of how many users ask at once."""
    users, most = tf.shape(k, tf.int64)[0], max(_MOST_PAIRS // objects, 1)
    message = f"Expected at most {most} users at once, each with {objects} objects to score. Received:"
    return [
        tf.debugging.Assert(
            tf.reduce_all((k > 0) & (k <= _MOST_ASKED)), [f"Expected k from 1 to {_MOST_ASKED}. Received:", k]
        ),
        tf.debugging.Assert(users <= most, [message, users]),
    ]


def best_objects(
    scores: Callable[[Tensor], Tensor], excluded: Tensor, most: Tensor, objects: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the objects with the highest scores, best first; of equal scores the smaller row comes first.

    Args:
        scores: candidates int64 [B, N] -> scores float32 [B, N].
        excluded: int64 [B, E], rows of objects that do not count; others in it do nothing.
        most: int64 scalar, how many objects are asked for: k.
        objects: rows of the catalog.

    Returns:
        Rows, int64 [B, min(k, objects)]; their scores, float32; and how many of them are real, int64 [B]: fewer than k
        where too many objects are excluded. The rest has row 0 and the smallest float32.
    """
    users = tf.shape(excluded, tf.int64)[0]
    width = chunk_width(users)
    most = tf.minimum(most, objects - FIRST_ROW)
    nothing = tf.float32.min

    def merged(start: Tensor, best: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        end = tf.minimum(start + width, objects)
        candidates = tf.broadcast_to(tf.range(start, end), [users, end - start])
        found = tf.where(_among(excluded, start, end), nothing, scores(candidates))
        best, places = tf.math.top_k(tf.concat([best, found], axis=1), tf.cast(most, tf.int32))
        return end, best, tf.gather(tf.concat([rows, candidates], axis=1), places, batch_dims=1)

    begin = tf.constant(FIRST_ROW, tf.int64)
    empty = tf.fill([users, most], nothing), tf.zeros([users, most], tf.int64)
    shapes = begin.shape, tf.TensorShape([None, None]), tf.TensorShape([None, None])
    _, best, rows = tf.while_loop(
        lambda start, *_: start < objects,
        merged,
        (begin, *empty),
        shape_invariants=shapes,
        parallel_iterations=_CHUNKS_AT_ONCE,
    )
    real = best > nothing
    return tf.where(real, rows, 0), best, tf.reduce_sum(tf.cast(real, tf.int64), axis=1)


def _among(rows: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Returns which objects from `start` to `end` are among each user's rows [B, E]: bool [B, end - start]."""
    there = tf.where((rows >= start) & (rows < end))  # [M, 2]: user, place
    places = tf.stack([there[:, 0], tf.gather_nd(rows, there) - start], axis=1)
    counts = tf.scatter_nd(places, tf.ones_like(there[:, 0]), [tf.shape(rows, tf.int64)[0], end - start])
    return counts > 0
