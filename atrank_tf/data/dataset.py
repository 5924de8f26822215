"""Records -> tf.data: the batches that `fit`, `evaluate` and `predict` take."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import tensorflow as tf

from atrank_tf.data import batching
from atrank_tf.data.batching_settings import Batching
from atrank_tf.data.chunk import parse
from atrank_tf.data.negatives import NegativeSampler
from atrank_tf.data.records import Records
from atrank_tf.data.target_counts import EVALUATION_SEED, chunk_targets, count_targets, read_chunks, sum_over_chunks
from atrank_tf.data.targets import Part
from atrank_tf.schema import Candidates, Negatives, Schema, suggestion


class TrainingBatches(NamedTuple):
    """An endless `tf.data.Dataset` of training batches, and how many of them make an epoch."""

    dataset: Any
    steps: int


def training_batches(
    records: Records,
    *,
    tasks: Sequence[str] | None = None,
    settings: Batching | None = None,
    seed: int = 0,
    first_epoch: int = 0,
) -> TrainingBatches:
    """Returns the batches of training, epoch after epoch without end, and how many make an epoch.

    A batch holds the requests of one task, the others have no candidates in it; the batches of all tasks are shuffled
    together (ATRank, section "Multi-task"). Each epoch draws the order, the negatives and, under `targets_per_user`,
    the targets anew, from `seed` and the number of the epoch alone.

    Args:
        records: a records folder.
        tasks: the tasks to train; None means all of the schema.
        settings: sizes.
        seed: every draw depends on it.
        first_epoch: number of the first epoch, to go on where an interrupted training stopped.

    Returns:
        `dataset`, which yields (inputs, labels, weights) as `fit` takes them: `inputs` as `input_signature` says;
        labels and weights: task -> float32 [B, N]. `steps`, for `fit(steps_per_epoch=...)`.

    Raises:
        ValueError: an unknown task, or a task without a single training target.
    """
    settings = settings or Batching()
    names = _task_names(records.schema, tasks)
    steps = {name: _training_steps(records, name, settings) for name in names}
    schedule = tf.constant([place for place, name in enumerate(names) for _ in range(steps[name])], tf.int64)

    def one_epoch(epoch: Any) -> Any:
        seeds = tf.stack([tf.constant(seed, tf.int64), epoch])
        streams = [
            _batches(records, name, names, Part.TRAINING, settings, seeds, records.schema).take(steps[name])
            for name in names
        ]
        if len(streams) == 1:
            return streams[0]
        turns = tf.gather(schedule, tf.argsort(tf.random.stateless_uniform([len(schedule)], seeds, dtype=tf.float64)))
        return tf.data.Dataset.choose_from_datasets(
            streams, tf.data.Dataset.from_tensor_slices(turns), stop_on_empty_dataset=False
        )

    # One endless dataset, not one that starts a new epoch whenever it is iterated: Keras opens iterators that it does
    # not use, and their prefetching would take epochs away at random.
    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(one_epoch)
    return TrainingBatches(dataset.map(lambda *batch: batch[:3]).prefetch(tf.data.AUTOTUNE), sum(steps.values()))


def evaluation_batches(
    records: Records, part: Part | str, *, tasks: Sequence[str] | None = None, settings: Batching | None = None
) -> Any:
    """Returns a `tf.data.Dataset` of validation or test batches: always the same requests and negatives.

    Yields (inputs, labels, weights) as `training_batches` does, task after task. Nothing is dropped.
    """
    settings = settings or Batching()
    size = settings.evaluation_batch_size
    names = _task_names(records.schema, tasks)
    steps = sum(
        sum_over_chunks(records, name, Part(part), settings, lambda n: (n + size - 1) // size) for name in names
    )
    batches = requests(records, part, tasks=names, settings=settings).map(lambda *batch: batch[:3])
    return batches.apply(tf.data.experimental.assert_cardinality(steps))


def requests(
    records: Records,
    part: Part | str,
    *,
    tasks: Sequence[str] | None = None,
    settings: Batching | None = None,
    whole_history: bool = False,
) -> Any:
    """Returns what `evaluation_batches` returns with the user ids (string [B]) as a fourth element.

    `whole_history` leaves histories uncut by `max_length`, for a baseline that reads all of them.
    """
    settings = settings or Batching()
    names = _task_names(records.schema, tasks)
    seeds = tf.constant([EVALUATION_SEED, 0], tf.int64)
    schema = _uncut(records.schema) if whole_history else records.schema
    streams = [_batches(records, name, names, Part(part), settings, seeds, schema) for name in names]
    dataset = streams[0]
    for stream in streams[1:]:
        dataset = dataset.concatenate(stream)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _training_steps(records: Records, task: str, settings: Batching) -> int:
    targets = count_targets(records, task, Part.TRAINING, settings)
    if not targets:
        raise ValueError(f"Expected training targets of task {task!r} in {records.path}. Found none: see [split].")
    return max(1, targets // settings.batch_size)


def _batches(
    records: Records,
    task: str,
    tasks: Sequence[str],
    part: Part,
    settings: Batching,
    seeds: Any,
    schema: Schema,
) -> Any:
    spec = schema.tasks[task]
    sampler = None
    if spec.candidates is Candidates.SAMPLED:
        catalog = records.catalogs[schema.groups[spec.group].entity]
        sampler = NegativeSampler(catalog, _negatives(spec.negatives, part, settings))
    batch_size = settings.batch_size if part is Part.TRAINING else settings.evaluation_batch_size

    def chunk_batches(chunk_number: Any, serialized: Any) -> Any:
        seed = tf.random.stateless_uniform([2], seeds + tf.stack([chunk_number, 0]), None, None, tf.int64)
        chunk = parse(serialized, schema)
        targets = chunk_targets(chunk, records.schema, task, part, settings, seed)
        negatives = sampler.draw(chunk, schema, task, targets.user, seed) if sampler else None
        order = batching.batch_order(targets, batch_size, seed)
        if schema is not records.schema:  # The same requests in the same order, with longer windows.
            targets = chunk_targets(chunk, schema, task, part, settings, seed)

        def batch(number: Any) -> Any:
            chosen = order[number * batch_size : (number + 1) * batch_size]
            picked = targets.take(chosen)
            drawn = tf.gather(negatives, chosen) if sampler else None
            inputs, labels, weights = batching.candidate_inputs(chunk, picked, schema, task, drawn)
            inputs |= batching.history_inputs(chunk, picked)
            all_labels, all_weights = {task: labels}, {task: weights}
            for other in tasks:
                if other != task:
                    more, all_labels[other], all_weights[other] = batching.no_candidates(schema, other, tf.size(chosen))
                    inputs |= more
            return inputs, all_labels, all_weights, tf.gather(chunk.user_id, picked.user)

        count = (tf.size(order, tf.int64) + batch_size - 1) // batch_size
        return tf.data.Dataset.range(count).map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    return read_chunks(records, part, seeds).flat_map(chunk_batches)


def _uncut(schema: Schema) -> Schema:
    return replace(schema, groups={name: replace(g, max_length=2**40) for name, g in schema.groups.items()})


def _negatives(declared: Negatives, part: Part, settings: Batching) -> Negatives:
    if part is not Part.TRAINING or not settings.negatives:
        return declared
    total = declared.uniform + declared.popularity
    uniform = round(settings.negatives * declared.uniform / total)
    return replace(declared, uniform=uniform, popularity=settings.negatives - uniform)


def _task_names(schema: Schema, tasks: Sequence[str] | None) -> list[str]:
    for name in tasks or ():
        if name not in schema.tasks:
            raise ValueError(f"Unknown task {name!r}. {suggestion(name, schema.tasks)}")
    return list(tasks or schema.tasks)
