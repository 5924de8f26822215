"""Which rows share a batch, and histories as padded rows."""

import tensorflow as tf

from atrank_tf.data.targets import Chunk, Targets
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS, history_name, profile_name
from atrank_tf.types import Tensor


def batch_limits(lengths: Tensor, *, tokens: int, rows: int, seed: Tensor) -> tuple[Tensor, Tensor]:
    """Divides rows into batches of at most `tokens` positions, padding included, and at most `rows` rows.

    Rows of about one length share a batch, so that little is padded. Which of them meet, and the order of the batches,
    is random. A row longer than `tokens` is a batch by itself.

    Args:
        lengths: int64 [S], the positions that each row takes.
        tokens: most positions of a batch.
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
    ends = tf.concat([begins, tf.expand_dims(size, 0)], axis=0)[1:]
    limits = tf.stack([begins, ends], axis=1)
    turns = tf.argsort(tf.random.stateless_uniform(tf.shape(begins), seed + 1, dtype=tf.float64))
    return tf.cast(order, tf.int64), tf.gather(limits, turns)


def user_inputs(chunk: Chunk, targets: Targets) -> dict[str, Tensor]:
    """Returns the inputs of `history_specs` and `profile_specs`, but for `now`.

    Padded on the right with 0 to the batch's longest history of each group.
    """
    inputs: dict[str, Tensor] = {}
    for name, rows in chunk.groups.items():
        start, end = targets.starts[name], targets.ends[name]
        indices, mask = window_indices(start, end)
        for column in BEHAVIOR_COLUMNS:
            inputs[history_name(name, column)] = gather_padded(getattr(rows, column), indices, mask)
    for column, values in chunk.profile.items():
        inputs[profile_name(column)] = tf.gather(values, targets.user)
    return inputs


def window_indices(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Returns flat indices [B, longest] of each window, 0 beyond its end, and which are real, bool [B, longest]."""
    width = tf.reduce_max(tf.concat([end - start, tf.zeros([1], tf.int64)], axis=0))
    indices = tf.expand_dims(start, 1) + tf.range(width)
    mask = indices < tf.expand_dims(end, 1)
    return tf.where(mask, indices, 0), mask


def gather_padded(values: Tensor, indices: Tensor, mask: Tensor) -> Tensor:
    """Returns `values` [V, ...] at `indices` [B, W] of `window_indices`, 0 where `mask` is False."""
    picked = tf.gather(values, indices)
    for _ in values.shape[1:]:
        mask = mask[..., tf.newaxis]
    return tf.where(mask, picked, tf.zeros_like(picked))
