"""Epochs of training batches, joined into one endless dataset."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from atrank_tf.data.chunk_reading import without_autograph
from atrank_tf.types import Tensor


class TrainingBatches(NamedTuple):
    """An endless `tf.data.Dataset` of training batches, and how many of them make an epoch."""

    dataset: tf.data.Dataset
    steps: int


def epochs(
    one_epoch: Callable[[Tensor], tf.data.Dataset], steps: int, *, seed: int, first_epoch: int
) -> TrainingBatches:
    """Joins epochs into one endless dataset.

    Args:
        one_epoch: a function (seeds int64 [2]) -> a dataset of the batches of one epoch.
        steps: batches in an epoch; if an epoch has fewer, its first ones come again.
        seed: every draw depends on it and on the number of the epoch alone.
        first_epoch: number of the first epoch.
    """

    def exactly(epoch: Tensor) -> tf.data.Dataset:
        return one_epoch(tf.stack([tf.constant(seed, tf.int64), epoch])).repeat().take(steps)

    # One endless dataset, not one that starts a new epoch whenever it is iterated: Keras opens iterators that it does
    # not use, and their prefetching would take epochs away at random.
    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(without_autograph(exactly))
    return TrainingBatches(dataset.prefetch(tf.data.AUTOTUNE), steps)


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
