"""Batches of requests, for `fit`, `evaluate` and `predict`."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import tensorflow as tf

from atrank_tf.data.batching import batch_limits, user_inputs
from atrank_tf.data.candidates import batch_candidates, has_log_rates, no_candidates
from atrank_tf.data.chunk_reading import (
    EVALUATION_SEED,
    TrainingBatches,
    chunk_seed,
    chunk_targets,
    epochs,
    mix,
    own_batches,
    read_chunks,
    require_targets,
    shuffled_tasks,
    sum_over_chunks,
    task_names,
    without_autograph,
)
from atrank_tf.data.records import Records
from atrank_tf.data.targets import Part, Targets, history_lengths, parse
from atrank_tf.data.task_candidates import TaskCandidates
from atrank_tf.experiment import Batching
from atrank_tf.schema import Schema
from atrank_tf.types import Tensor

_ANY = 2**40
"""Longer than any history."""
EVALUATION_TOKENS = 8192
"""Most positions for behaviors in a batch of evaluation: attention over more of them would leave the caches."""


def training_batches(
    records: Records,
    *,
    tasks: Sequence[str] | None = None,
    settings: Batching | None = None,
    seed: int = 0,
    part: Part = Part.TRAINING,
    agree: Callable[[Sequence[int]], Sequence[int]] = list,
) -> TrainingBatches:
    """Returns training batches, epoch after epoch without end, and how many make an epoch.

    A batch holds the requests of one task, the others have no candidates in it; the batches of all tasks are shuffled
    together (ATRank, section "Multi-task"). Each epoch draws the order, the negatives and, under `targets_per_user`,
    the targets anew, from `seed` and the number of the epoch alone.

    Args:
        records: a records folder.
        tasks: the tasks to train; None means all of the schema.
        settings: sizes.
        seed: every draw depends on it.
        part: `Part.TRAINING`, or `Part.TRAINING_AND_VALIDATION` for a last training, when all has been chosen.
        agree: for several workers: what turns the numbers of batches that this one has of each task into those that all
            will take. A worker with fewer sees some of its targets twice.

    Returns:
        What `fit` of our models takes, which goes on with `initial_epoch`; for other Keras models `dataset`, which
        yields (inputs, labels, weights), and `steps`, for `fit(steps_per_epoch=...)`. `inputs`: those of
        `atrank_tf.schema.inputs.input_specs`, and `<task>__log_rate` where `has_log_rates`, which our models take out
        of their logits. Labels and weights: task -> float32 [B, N].

    Raises:
        ValueError: an unknown task, or a task without a single training target.
    """
    settings = settings or Batching()
    names = task_names(records.schema, tasks)
    counts = agree(_count(records, names, part, settings, seed))
    steps = dict(zip(names, counts, strict=True))
    require_targets(steps, settings.min_history)
    steps = mix(steps, settings.temperature)

    def batches(name: str, seeds: Tensor) -> tf.data.Dataset:
        return _batches(records, name, names, part, settings, seeds).map(_without_user_ids)

    return epochs(shuffled_tasks(batches, steps), sum(steps.values()), seed=seed)


def evaluation_batches(
    records: Records, part: Part | str, *, tasks: Sequence[str] | None = None, settings: Batching | None = None
) -> tf.data.Dataset:
    """Returns a `tf.data.Dataset` of validation or test batches: always the same requests and negatives.

    Yields (inputs, labels, weights) as `training_batches` does, task after task. Nothing is dropped.
    """
    settings = settings or Batching()
    names = task_names(records.schema, tasks)
    steps = sum(_count(records, names, Part(part), settings, EVALUATION_SEED))
    batches = requests(records, part, tasks=names, settings=settings).map(_without_user_ids)
    return batches.apply(tf.data.experimental.assert_cardinality(steps))


def requests(
    records: Records,
    part: Part | str,
    *,
    tasks: Sequence[str] | None = None,
    settings: Batching | None = None,
    whole_history: bool = False,
) -> tf.data.Dataset:
    """Returns the batches of `evaluation_batches`, with the user ids (string [B]) as a fourth element.

    `whole_history` leaves histories uncut by `max_length`, for a baseline that reads all of them.
    """
    settings = settings or Batching()
    names = task_names(records.schema, tasks)
    seeds = tf.constant([EVALUATION_SEED, 0], tf.int64)
    streams = [_batches(records, name, names, Part(part), settings, seeds, whole_history) for name in names]
    dataset = streams[0]
    for stream in streams[1:]:
        dataset = dataset.concatenate(stream)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _batches(
    records: Records,
    task: str,
    tasks: Sequence[str],
    part: Part,
    settings: Batching,
    seeds: Tensor,
    whole_history: bool = False,
) -> tf.data.Dataset:
    schema = uncut(records.schema) if whole_history else records.schema
    candidates = TaskCandidates(records, task, settings, trains=part.trains)

    def chunk_batches(chunk_number: Tensor, serialized: Tensor) -> tf.data.Dataset:
        seed = chunk_seed(seeds, chunk_number)
        chunk = parse(serialized, schema)
        targets = chunk_targets(chunk, records.schema, task, part, settings, seed)
        of_chunk = candidates.of_chunk(chunk, serialized)
        negatives = of_chunk.draw(targets, seed)
        order, limits = _divided(targets, part, settings, seed)
        if whole_history:  # The same requests in the same order, with longer windows.
            targets = chunk_targets(chunk, schema, task, part, settings, seed)

        def batch(limit: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], Tensor]:
            chosen = order[limit[0] : limit[1]]
            picked = targets.take(chosen)
            drawn = None if negatives is None else tf.gather(negatives, chosen)
            inputs, labels, weights = batch_candidates(chunk, picked, schema, task, drawn, of_chunk.computed)
            inputs |= {"now": picked.request_time} | user_inputs(chunk, picked)
            all_labels, all_weights = {task: labels}, {task: weights}
            for other in tasks:
                if other != task:
                    with_rates = part.trains and has_log_rates(schema.tasks[other], settings)
                    found = no_candidates(schema, other, tf.size(chosen), with_rates)
                    more, all_labels[other], all_weights[other] = found
                    inputs |= more
            return inputs, all_labels, all_weights, tf.gather(chunk.user_id, picked.user)

        own_limits = tf.data.Dataset.from_tensor_slices(own_batches(records, part, chunk_number, limits))
        return own_limits.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    return read_chunks(records, part, seeds).flat_map(without_autograph(chunk_batches))


def _count(records: Records, tasks: Sequence[str], part: Part, settings: Batching, seed: int) -> list[int]:
    """Returns the number of batches of each task, in one pass over the records."""

    def count(number: Tensor, serialized: Tensor, drawn: Tensor) -> Tensor:
        chunk = parse(serialized, records.schema)
        targets = [chunk_targets(chunk, records.schema, task, part, settings, drawn) for task in tasks]
        limits = [_divided(each, part, settings, drawn)[1] for each in targets]
        return tf.stack([tf.shape(own_batches(records, part, number, each), tf.int64)[0] for each in limits])

    return list(sum_over_chunks(records, part, seed, count).tolist())


def _divided(targets: Targets, part: Part, settings: Batching, seed: Tensor) -> tuple[Tensor, Tensor]:
    lengths = history_lengths(targets)
    if part.trains:
        return batch_limits(lengths, tokens=settings.batch_tokens, rows=settings.batch_size, seed=seed)
    return batch_limits(lengths, tokens=EVALUATION_TOKENS, rows=settings.evaluation_batch_size, seed=seed)


def uncut(schema: Schema) -> Schema:
    """Returns a schema whose histories are not cut by `max_length`."""
    return replace(schema, groups={name: replace(g, max_length=_ANY) for name, g in schema.groups.items()})


def _without_user_ids(inputs: Tensor, labels: Tensor, weights: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return inputs, labels, weights
