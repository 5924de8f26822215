"""Records -> tf.data: batches of whole timelines."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from atrank_tf.data.batch_limits import batch_limits
from atrank_tf.data.batching_settings import Batching
from atrank_tf.data.candidates import NegativeSampler, positives_of_users, training_negatives
from atrank_tf.data.chunk import Chunk, parse
from atrank_tf.data.chunk_reading import chunk_seed, long_enough, read_chunks, sum_of_chunks, task_names
from atrank_tf.data.epochs import TrainingBatches, epochs, require_targets
from atrank_tf.data.records import Records
from atrank_tf.data.targets import Part, Targets, choose_run, find_targets
from atrank_tf.data.timeline_batching import Rows, row_lengths, timeline_batch, timeline_rows
from atrank_tf.schema import Candidates, Schema


def timeline_batches(
    records: Records,
    *,
    tasks: Sequence[str] | None = None,
    settings: Batching | None = None,
    seed: int = 0,
    first_epoch: int = 0,
    part: Part = Part.TRAINING,
    agree: Callable[[Sequence[int]], Sequence[int]] = list,
) -> TrainingBatches:
    """Returns training batches of whole timelines, for a model that trains on all their moments at once.

    As `training_batches`, but a row of a batch is one user's timeline with the targets of all tasks, P_t of each: a
    history is encoded once for all of them. In place of `now` there are `<task>/now` int64 [B, P_t] and
    `<task>/<group>_seen` int64 [B, P_t] (how many of a group's behaviors each moment sees); candidates, labels and
    weights are [B, P_t, N]. Batches have about `settings.batch_tokens` places for behaviors, so that their number of
    rows varies. Under `targets_per_user` a user's targets of an epoch are neighbors in time.

    Raises:
        ValueError: as `training_batches`; or a `temperature`, since the tasks have no batches of their own.
    """
    settings = settings or Batching()
    if settings.temperature != 1:
        raise ValueError(
            "Expected temperature = 1: a model trained on timelines has the targets of all tasks in each batch, and "
            f"[training.task_weights] weighs them. Received: temperature={settings.temperature} in [batching]."
        )
    names = task_names(records.schema, tasks)
    counts = agree(_count(records, names, part, settings, seed))
    require_targets(dict(zip(names, counts, strict=True)), settings.min_history)

    def one_epoch(seeds: Any) -> Any:
        return _batches(records, names, part, settings, seeds)

    return epochs(one_epoch, max(counts), seed=seed, first_epoch=first_epoch)


def _batches(records: Records, tasks: Sequence[str], part: Part, settings: Batching, seeds: Any) -> Any:
    schema = records.schema
    samplers = {}
    for name in tasks:
        if schema.tasks[name].candidates is Candidates.SAMPLED:
            catalog = records.catalogs[schema.groups[schema.tasks[name].group].entity]
            samplers[name] = NegativeSampler(catalog, training_negatives(schema.tasks[name].negatives, settings))

    def chunk_batches(chunk_number: Any, serialized: Any) -> Any:
        drawn = chunk_seed(seeds, chunk_number)
        chunk = parse(serialized, schema)
        targets = _targets(chunk, schema, tasks, part, settings, drawn)
        positives = {name: positives_of_users(chunk, schema, name) for name in samplers}
        rows = timeline_rows(targets, drawn)
        order, limits = _divided(rows, settings, drawn)

        def batch(limit: Any) -> Any:
            def negatives(task: str, user: Any) -> Any:
                if task not in samplers:
                    return None
                seed = drawn + limit + (tasks.index(task) << 40)  # Each task has draws of its own.
                return samplers[task].draw(positives[task], user, seed, settings.batch_tokens)

            of_task = {name: partial(negatives, name) for name in tasks}
            return timeline_batch(chunk, schema, targets, of_task, rows, order[limit[0] : limit[1]])

        limits = tf.data.Dataset.from_tensor_slices(limits)
        return limits.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    return read_chunks(records, part, seeds).flat_map(chunk_batches)


def _targets(
    chunk: Chunk, schema: Schema, tasks: Sequence[str], part: Part, settings: Batching, seed: Any
) -> dict[str, Targets]:
    """Returns the training targets of a chunk that one pass takes, of each user and task neighbors in time."""
    # One draw for all tasks of a user, so that their targets are about the same part of the timeline.
    draw = tf.random.stateless_uniform(tf.shape(chunk.user_id), seed, dtype=tf.float64)
    return {
        name: choose_run(
            long_enough(find_targets(chunk, schema, name, part), settings), settings.targets_per_user, draw
        )
        for name in tasks
    }


def _count(records: Records, tasks: Sequence[str], part: Part, settings: Batching, seed: int) -> list[int]:
    """Returns the number of batches, for each task: 0 for one that has no target."""

    def count(serialized: Any, drawn: Any) -> Any:
        targets = _targets(parse(serialized, records.schema), records.schema, tasks, part, settings, drawn)
        limits = _divided(timeline_rows(targets, drawn), settings, drawn)[1]
        return tf.stack([tf.shape(limits, tf.int64)[0], *(tf.size(each.user, tf.int64) for each in targets.values())])

    batches, *found = sum_of_chunks(records, part, seed, count)
    return [batches if of_task else 0 for of_task in found]


def _divided(rows: Rows, settings: Batching, seed: Any) -> tuple[Any, Any]:
    tokens = settings.batch_tokens
    return batch_limits(row_lengths(rows), tokens=tokens, rows=tokens, seed=seed)
