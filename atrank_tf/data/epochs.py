"""Batches of several tasks -> one stream without end, epoch after epoch."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf


class TrainingBatches(NamedTuple):
    """An endless `tf.data.Dataset` of training batches, and how many of them make an epoch."""

    dataset: Any
    steps: int


def epochs(
    batches: Callable[[str, Any], Any], steps: Mapping[str, int], *, temperature: float, seed: int, first_epoch: int
) -> TrainingBatches:
    """Shuffles the batches of all tasks together, epoch after epoch.

    Args:
        batches: a function (task, seeds int64 [2]) -> a dataset of the task's batches in one epoch.
        steps: task -> batches in an epoch; if an epoch has fewer, its first ones come again.
        temperature: how the tasks share an epoch, as `Batching` says.
        seed: every draw depends on it and on the number of the epoch alone.
        first_epoch: number of the first epoch.

    Raises:
        ValueError: a task has no batch.
    """
    for name, count in steps.items():
        if not count:
            raise ValueError(f"Expected training targets of task {name!r} in the records. Found none: see [split].")
    steps = mix(steps, temperature)
    schedule = tf.constant([place for place, name in enumerate(steps) for _ in range(steps[name])], tf.int64)

    def one_epoch(epoch: Any) -> Any:
        seeds = tf.stack([tf.constant(seed, tf.int64), epoch])
        streams = [batches(name, seeds).repeat().take(count) for name, count in steps.items()]
        if len(streams) == 1:
            return streams[0]
        turns = tf.gather(schedule, tf.argsort(tf.random.stateless_uniform([len(schedule)], seeds, dtype=tf.float64)))
        return tf.data.Dataset.choose_from_datasets(
            streams, tf.data.Dataset.from_tensor_slices(turns), stop_on_empty_dataset=False
        )

    # One endless dataset, not one that starts a new epoch whenever it is iterated: Keras opens iterators that it does
    # not use, and their prefetching would take epochs away at random.
    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(one_epoch)
    return TrainingBatches(dataset.prefetch(tf.data.AUTOTUNE), sum(steps.values()))


def mix(steps: Mapping[str, int], temperature: float) -> dict[str, int]:
    """Divides an epoch among tasks in proportion to steps ** (1 / temperature).

    An epoch stays as long as it was but for rounding; each task has one batch at least.

    Reference:
        T5 (arXiv 1910.10683), section 3.5.2: temperature-scaled mixing.
    """
    scaled = {name: count ** (1 / temperature) for name, count in steps.items()}
    unit = sum(steps.values()) / sum(scaled.values())
    return {name: max(1, round(share * unit)) for name, share in scaled.items()}
