"""Which rows share a batch: neighbors in length, as many as a budget of places allows."""

from typing import Any

import tensorflow as tf


def batch_limits(lengths: Any, *, tokens: int, rows: int, seed: Any) -> tuple[Any, Any]:
    """Divides rows into batches of at most `tokens` places, padding included, and at most `rows` rows.

    Rows of about one length share a batch, so that little is padded. Which of them meet, and the order of the batches,
    is random. A row longer than `tokens` is a batch by itself.

    Args:
        lengths: int64 [S], the places that each row takes.
        tokens: most places of a batch.
        rows: most rows of a batch.
        seed: int64 [2]. What else is drawn by it has nothing to do with who shares a batch.

    Returns:
        order: int64 [S], the rows, longest first.
        limits: int64 [number of batches, 2], where in `order` each batch begins and ends.
    """
    seed = tf.random.experimental.stateless_fold_in(seed, 1)  # Not the numbers that negatives and targets are drawn by.
    noise = tf.random.stateless_uniform(tf.shape(lengths), seed, dtype=tf.float64)
    order = tf.argsort(tf.cast(lengths, tf.float64) + noise, direction="DESCENDING")
    size = tf.size(lengths, tf.int64)
    # The first row of a batch is its longest, and says how many fit.
    longest = tf.maximum(tf.gather(lengths, order), 1)
    fit = tf.clip_by_value(tokens // longest, 1, rows)
    _, begins = tf.while_loop(
        lambda begin, _: begin < size,
        lambda begin, found: (begin + fit[begin], found.write(found.size(), begin)),
        (tf.constant(0, tf.int64), tf.TensorArray(tf.int64, 0, dynamic_size=True, element_shape=[])),
    )
    begins = begins.stack()
    limits = tf.stack([begins, tf.concat([begins[1:], size[tf.newaxis]], axis=0)[: tf.size(begins)]], axis=1)
    turns = tf.argsort(tf.random.stateless_uniform(tf.shape(begins), seed + 1, dtype=tf.float64))
    return tf.cast(order, tf.int64), tf.gather(limits, turns)
