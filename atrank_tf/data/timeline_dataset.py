"""Records -> tf.data: batches of whole timelines."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from atrank_tf.data import batching
from atrank_tf.data.batch_limits import batch_limits
from atrank_tf.data.batching_settings import Batching
from atrank_tf.data.chunk import parse
from atrank_tf.data.epochs import TrainingBatches, epochs
from atrank_tf.data.negatives import NegativeSampler, positives_of_users, training_negatives
from atrank_tf.data.records import Records
from atrank_tf.data.target_counts import chunk_seed, chunk_timelines, count_batches, read_chunks, task_names
from atrank_tf.data.targets import Part
from atrank_tf.data.timeline_batching import Rows, row_lengths, timeline_batch, timeline_rows
from atrank_tf.schema import Candidates


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

    As `training_batches`, but a row of a batch is one user's timeline with P of its targets: `now` int64 [B, P],
    `<group>_seen` int64 [B, P] (how many of a group's behaviors each moment sees), candidates, labels and weights
    [B, P, N]. Batches have about `settings.batch_tokens` places for behaviors, so that their number of rows varies.
    Under `targets_per_user` a user's targets of an epoch are neighbors in time.
    """
    settings = settings or Batching()
    names = task_names(records.schema, tasks)
    counts = agree([_count(records, name, part, settings, seed) for name in names])
    steps = dict(zip(names, counts, strict=True))

    def one_epoch(name: str, seeds: Any) -> Any:
        return _batches(records, name, names, part, settings, seeds)

    return epochs(one_epoch, steps, temperature=settings.temperature, seed=seed, first_epoch=first_epoch)


def _batches(records: Records, task: str, tasks: Sequence[str], part: Part, settings: Batching, seeds: Any) -> Any:
    schema = records.schema
    spec = schema.tasks[task]
    sampler = None
    if spec.candidates is Candidates.SAMPLED:
        catalog = records.catalogs[schema.groups[spec.group].entity]
        sampler = NegativeSampler(catalog, training_negatives(spec.negatives, settings))

    def chunk_batches(chunk_number: Any, serialized: Any) -> Any:
        drawn = chunk_seed(seeds, chunk_number)
        chunk = parse(serialized, schema)
        targets = chunk_timelines(chunk, schema, task, part, settings, drawn)
        positives = positives_of_users(chunk, schema, task) if sampler else None
        rows = timeline_rows(targets, drawn)
        order, limits = _divided(rows, settings, drawn)

        def batch(limit: Any) -> Any:
            chosen = order[limit[0] : limit[1]]

            def negatives(user: Any) -> Any:
                return sampler.draw(positives, user, drawn + limit, settings.batch_tokens) if sampler else None

            inputs, labels, weights = timeline_batch(chunk, schema, task, targets, negatives, rows, chosen)
            all_labels, all_weights = {task: labels}, {task: weights}
            shape = tf.shape(inputs["now"])
            for other in tasks:
                if other != task:
                    more, all_labels[other], all_weights[other] = batching.no_candidates(schema, other, shape)
                    inputs |= more
            return inputs, all_labels, all_weights

        limits = tf.data.Dataset.from_tensor_slices(limits)
        return limits.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    return read_chunks(records, part, seeds).flat_map(chunk_batches)


def _count(records: Records, task: str, part: Part, settings: Batching, seed: int) -> int:
    def limits(serialized: Any, drawn: Any) -> Any:
        targets = chunk_timelines(parse(serialized, records.schema), records.schema, task, part, settings, drawn)
        return _divided(timeline_rows(targets, drawn), settings, drawn)[1]

    return count_batches(records, part, seed, limits)


def _divided(rows: Rows, settings: Batching, seed: Any) -> tuple[Any, Any]:
    tokens = settings.batch_tokens
    return batch_limits(row_lengths(rows), tokens=tokens, rows=tokens, seed=seed)
