"""Reads records chunk by chunk, and counts their targets."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from atrank_tf.data.batching import Batching
from atrank_tf.data.chunk import Chunk, parse
from atrank_tf.data.records import Records
from atrank_tf.data.targets import Part, Targets, choose_per_user, find_targets, history_lengths
from atrank_tf.schema import Schema, suggestion
from atrank_tf.types import Tensor

USERS_PER_CHUNK = 2048
"""Users whose timelines are in memory at a time. A constant, so that evaluation draws the same negatives everywhere."""
EVALUATION_SEED = 0

without_autograph = tf.autograph.experimental.do_not_convert
"""What datasets map is TensorFlow as it stands: AutoGraph would read its source for seconds and change nothing."""


def read_chunks(records: Records, part: Part, seeds: Tensor) -> tf.data.Dataset:
    """Yields (number of the chunk, serialized Examples of its users), of this worker's share; shuffled in training."""
    index, shares = records.share
    paths = records.files[index::shares] if part.trains else records.files
    files = tf.data.Dataset.from_tensor_slices(paths)
    if part.trains:
        mixed = tf.random.stateless_uniform([], seeds, None, None, tf.int64)
        files = _shuffled(files, len(paths), mixed)
    users = files.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(8, len(paths)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if part.trains:
        users = _shuffled(users, 2 * USERS_PER_CHUNK, mixed)
    chunks = users.batch(USERS_PER_CHUNK).prefetch(1).enumerate()
    if part.trains:  # No two workers have a chunk of the same number, which is what draws depend on.
        return chunks.map(lambda number, serialized: (number * shares + index, serialized))
    return chunks.shard(shares, index)


def _shuffled(dataset: tf.data.Dataset, buffer: int, seed: Tensor) -> tf.data.Dataset:
    """Shuffles by this seed alone; `Dataset.shuffle` mixes the global one in, and fails where that is 0 in a graph."""

    def shuffle(seed: Tensor) -> tf.data.Dataset:
        tf.compat.v1.get_default_graph().seed = None
        return dataset.shuffle(buffer, seed=seed)

    return tf.data.Dataset.from_tensors(seed).flat_map(without_autograph(shuffle))


def chunk_targets(chunk: Chunk, schema: Schema, task: str, part: Part, settings: Batching, seed: Tensor) -> Targets:
    """Returns the targets of a chunk in one pass: with enough history, at most `targets_per_user` of each user."""
    targets = find_targets(chunk, schema, task, part)
    if not part.trains:
        return choose_per_user(targets, settings.evaluation_targets_per_user, seed)
    return choose_per_user(long_enough(targets, settings), settings.targets_per_user, seed)


def long_enough(targets: Targets, settings: Batching) -> Targets:
    """Returns the targets that have enough history to be trained on."""
    return targets.take(tf.where(history_lengths(targets) >= settings.min_history)[:, 0])


def task_names(schema: Schema, tasks: Sequence[str] | None) -> list[str]:
    """Returns the tasks asked for, all of the schema for None.

    Raises:
        ValueError: the schema has no such task.
    """
    for name in tasks or ():
        if name not in schema.tasks:
            raise ValueError(f"Unknown task {name!r}. {suggestion(name, schema.tasks)}")
    return list(tasks or schema.tasks)


def count_targets(records: Records, task: str, part: Part | str, settings: Batching | None = None) -> int:
    """Returns how many targets one pass over a part of the data has."""

    def count(serialized: Tensor, seed: Tensor) -> Tensor:
        chunk = parse(serialized, records.schema)
        found = chunk_targets(chunk, records.schema, task, Part(part), settings or Batching(), seed)
        return tf.size(found.user, tf.int64)

    return int(sum_over_chunks(records, Part(part), EVALUATION_SEED, count))


def chunk_seed(seeds: Tensor, chunk_number: Tensor) -> Tensor:
    """Returns the seed of a chunk, int64 [2], from the seeds of the epoch, int64 [2]."""
    return tf.random.stateless_uniform([2], seeds + tf.stack([chunk_number, 0]), None, None, tf.int64)


def sum_over_chunks(records: Records, part: Part, seed: int, numbers: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
    """Returns the sum over the chunks of a part of the data, as the first pass has them.

    Args:
        records: a records folder.
        part: the part.
        seed: of all draws.
        numbers: a function (serialized Examples of a chunk, its seed) -> int64, always of one shape.
    """
    seeds = tf.constant([seed, 0], tf.int64)

    def of_chunk(number: Tensor, serialized: Tensor) -> Tensor:
        return numbers(serialized, chunk_seed(seeds, number))

    found = read_chunks(records, part, seeds).map(without_autograph(of_chunk), num_parallel_calls=tf.data.AUTOTUNE)
    nothing = tf.zeros(found.element_spec.shape, tf.int64)
    return np.asarray(found.reduce(nothing, lambda total, more: total + more))
