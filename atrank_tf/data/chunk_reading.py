"""Reads records chunk by chunk and epoch by epoch, and counts their targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import tensorflow as tf

from atrank_tf.data.records import Records
from atrank_tf.data.targets import Chunk, Part, Targets, choose_per_user, find_targets, history_lengths, parse
from atrank_tf.experiment import Batching
from atrank_tf.schema import Candidates, Schema, suggestion
from atrank_tf.types import Tensor

USERS_PER_CHUNK = 2048
"""Users whose timelines are in memory at a time; a training with large batches takes more. A constant, so that
evaluation draws the same negatives everywhere."""
EVALUATION_SEED = 0

without_autograph = tf.autograph.experimental.do_not_convert
"""What datasets map is TensorFlow as it stands: AutoGraph would read its source for seconds and change nothing."""


def without_rewrites(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset that runs as it is: TensorFlow would rewrite it for a second, to no faster batches."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def read_chunks(records: Records, part: Part, seeds: Tensor, users: int = 0) -> tf.data.Dataset:
    """Yields (number of the chunk, serialized Examples of its users); shuffled in training.

    Of several workers each gets its own; in evaluation all get those of which `own_batches` divides the batches, too.

    Args:
        records: a records folder.
        part: the part of the data.
        seeds: of the order, int64 [2].
        users: of a chunk in training, where more than `USERS_PER_CHUNK` are wanted.
    """
    index, shares = records.share
    users = max(users, USERS_PER_CHUNK) if part.trains else USERS_PER_CHUNK
    paths = records.files[index::shares] if part.trains else records.files
    files = tf.data.Dataset.from_tensor_slices(paths)
    if part.trains:
        mixed = tf.random.stateless_uniform([], seeds, None, None, tf.int64)
        files = _shuffled(files, len(paths), mixed)
    examples = files.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(8, len(paths)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if part.trains:
        examples = _shuffled(examples, 2 * users, mixed)
    chunks = without_rewrites(examples.batch(users).prefetch(1).enumerate())
    if part.trains:  # No two workers have a chunk of the same number, which is what draws depend on.
        return chunks.map(lambda number, serialized: (number * shares + index, serialized))
    divided = _first_divided(records)
    return chunks.filter(without_autograph(lambda number, _: (number >= divided) | (number % shares == index)))


def own_batches(records: Records, part: Part, number: Tensor, batches: Tensor) -> Tensor:
    """Returns the batches of a chunk that are of this worker's share.

    In training a chunk is of one worker. In evaluation whole chunks are, too, as many for each worker; those that are
    left, at most one for each, are divided by batches: every worker reads them and draws their negatives, which are so
    those of one worker, and takes every n-th batch.

    Args:
        records: the records, `of_worker`.
        part: the part of the data.
        number: of the chunk.
        batches: [number of batches, ...], of one task.
    """
    index, shares = records.share
    if part.trains or shares == 1:
        return batches
    # The first batch of another chunk goes to another worker: there may be chunks of one batch.
    divided = number >= _first_divided(records)
    return batches[tf.where(divided, (index - number) % shares, 0) :: tf.where(divided, shares, 1)]


def _first_divided(records: Records) -> int:
    """Returns the first chunk whose batches are divided among the workers in an evaluation."""
    chunks = -(-records.manifest["users"] // USERS_PER_CHUNK)
    return max(0, chunks - 1) // records.share[1] * records.share[1]


def _shuffled(dataset: tf.data.Dataset, buffer: int, seed: Tensor) -> tf.data.Dataset:
    """Shuffles by this seed alone; `Dataset.shuffle` mixes the global one in, and fails where that is 0 in a graph."""

    def shuffle(seed: Tensor) -> tf.data.Dataset:
        tf.compat.v1.get_default_graph().seed = None
        return dataset.shuffle(buffer, seed=seed)

    return tf.data.Dataset.from_tensors(seed).flat_map(without_autograph(shuffle))


def chunk_targets(chunk: Chunk, schema: Schema, task: str, part: Part, settings: Batching, seed: Tensor) -> Targets:
    """Returns the targets of a chunk that one pass takes: of an evaluation all, up to a number for each user."""
    if not part.trains:
        return choose_per_user(find_targets(chunk, schema, task, part), settings.evaluation_targets_per_user, seed)
    return choose_per_user(trained_targets(chunk, schema, task, part, settings), settings.targets_per_user, seed)


def trained_targets(chunk: Chunk, schema: Schema, task: str, part: Part, settings: Batching) -> Targets:
    """Returns the targets that training takes: those with `min_history` behaviors before them; of impressions all."""
    targets = find_targets(chunk, schema, task, part)
    if schema.tasks[task].candidates is Candidates.IMPRESSIONS:
        return targets
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

    def count(_: Tensor, serialized: Tensor, seed: Tensor) -> Tensor:
        chunk = parse(serialized, records.schema)
        found = chunk_targets(chunk, records.schema, task, Part(part), settings or Batching(), seed)
        return tf.size(found.user, tf.int64)

    return int(sum_over_chunks(records, Part(part), EVALUATION_SEED, count))


def chunk_seed(seeds: Tensor, chunk_number: Tensor) -> Tensor:
    """Returns the seed of a chunk, int64 [2], from the seeds of the epoch, int64 [2]."""
    return tf.random.stateless_uniform([2], seeds + tf.stack([chunk_number, 0]), None, None, tf.int64)


def sum_over_chunks(
    records: Records, part: Part, seed: int, numbers: Callable[[Tensor, Tensor, Tensor], Tensor], users: int = 0
) -> np.ndarray:
    """Returns the sum over the chunks of a part of the data, as the first pass has them.

    Args:
        records: a records folder.
        part: the part.
        seed: of all draws.
        numbers: a function (number of a chunk, its serialized Examples, its seed) -> int64, always of one shape.
        users: as `read_chunks` takes it.
    """
    seeds = tf.constant([seed, 0], tf.int64)

    def of_chunk(number: Tensor, serialized: Tensor) -> Tensor:
        return numbers(number, serialized, chunk_seed(seeds, number))

    chunks = read_chunks(records, part, seeds, users)
    found = chunks.map(without_autograph(of_chunk), num_parallel_calls=tf.data.AUTOTUNE)
    nothing = tf.zeros(found.element_spec.shape, tf.int64)
    return np.asarray(found.reduce(nothing, lambda total, more: total + more))


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Batches of all epochs of a training, and how many of them make an epoch.

    Args:
        from_epoch: a function (number of an epoch) -> an endless `tf.data.Dataset` that begins with that epoch.
        steps: batches in an epoch.
    """

    from_epoch: Callable[[int], tf.data.Dataset]
    steps: int

    @property
    def dataset(self) -> tf.data.Dataset:
        """Returns the endless dataset of all epochs."""
        return self.from_epoch(0)


def epochs(one_epoch: Callable[[Tensor], tf.data.Dataset], steps: int, *, seed: int) -> TrainingBatches:
    """Joins epochs into one endless dataset.

    Args:
        one_epoch: a function (seeds int64 [2]) -> a dataset of the batches of one epoch.
        steps: batches in an epoch; if one has fewer, its first ones come again; if more, the last are left out.
        seed: every draw depends on it and on the number of the epoch alone.
    """

    def exactly(epoch: Tensor) -> tf.data.Dataset:
        return one_epoch(tf.stack([tf.constant(seed, tf.int64), epoch])).repeat().take(steps)

    # One endless dataset, not one that starts a new epoch whenever it is iterated: Keras opens iterators that it does
    # not use, and their prefetching would take epochs away at random.
    @cache
    def from_epoch(first: int) -> tf.data.Dataset:
        dataset = tf.data.Dataset.range(first, tf.int64.max).flat_map(without_autograph(exactly))
        return without_rewrites(dataset.prefetch(tf.data.AUTOTUNE))

    return TrainingBatches(from_epoch, steps)


def shuffled_tasks(
    batches: Callable[[str, Tensor], tf.data.Dataset], steps: Mapping[str, int]
) -> Callable[[Tensor], tf.data.Dataset]:
    """Shuffles the batches of several tasks together.

    Args:
        batches: a function (task, seeds int64 [2]) -> a dataset of the task's batches in one epoch.
        steps: task -> batches in an epoch; if an epoch has fewer, its first ones come again.

    Returns:
        A function (seeds int64 [2]) -> a dataset of the batches of one epoch.
    """
    schedule = tf.constant([index for index, name in enumerate(steps) for _ in range(steps[name])], tf.int64)

    def one_epoch(seeds: Tensor) -> tf.data.Dataset:
        streams = [batches(name, seeds).repeat().take(count) for name, count in steps.items()]
        if len(streams) == 1:
            return streams[0]
        turns = tf.gather(schedule, tf.argsort(tf.random.stateless_uniform([len(schedule)], seeds, dtype=tf.float64)))
        return tf.data.Dataset.choose_from_datasets(
            streams, tf.data.Dataset.from_tensor_slices(turns), stop_on_empty_dataset=False
        )

    return one_epoch


def mix(steps: Mapping[str, int], temperature: float) -> dict[str, int]:
    """Divides an epoch among tasks in proportion to steps ** (1 / temperature).

    An epoch stays as long as it was but for rounding; each task has one batch at least.

    Reference:
        T5 (arXiv 1910.10683), section 3.5.2: temperature-scaled mixing.
    """
    scaled = {name: count ** (1 / temperature) for name, count in steps.items()}
    unit = sum(steps.values()) / sum(scaled.values())
    return {name: max(1, round(share * unit)) for name, share in scaled.items()}


def require_targets(steps: Mapping[str, int], min_history: int) -> None:
    """Raises ValueError if a task has no batch: `steps` says how many each has, of targets with so long a history."""
    for name, count in steps.items():
        if not count:
            raise ValueError(
                f"Expected training targets of task {name!r} with at least min_history={min_history} behaviors before "
                "them. Found none: see min_history in [batching], and [split] and the task's ties in the schema."
            )
