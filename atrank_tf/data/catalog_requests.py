"""Requests whose candidates are all objects of an entity."""

from typing import NamedTuple

import tensorflow as tf

from atrank_tf.data.batching import batch_limits, gather_padded, user_inputs, window_indices
from atrank_tf.data.chunk_reading import EVALUATION_SEED, chunk_seed, chunk_targets, read_chunks, without_autograph
from atrank_tf.data.records import Records
from atrank_tf.data.request_batching import EVALUATION_TOKENS, uncut
from atrank_tf.data.targets import SPAN, Part, first_at_least, history_lengths, parse, positive_behaviors
from atrank_tf.experiment import Batching
from atrank_tf.schema import Candidates
from atrank_tf.types import Tensor


class CatalogRequests(NamedTuple):
    """A batch of B requests whose candidates are all objects of the catalog.

    `users`: string [B]. `positive`: int64 [B], row of the catalog. `same_moment`: int64 [B, M], all objects that the
    user chose in the request's second, the positive too; 0 is padding. `inputs`: those of `history_specs` and
    `profile_specs`. `whole`: the same, with histories that are not cut by `max_length`.
    """

    users: Tensor
    positive: Tensor
    same_moment: Tensor
    inputs: dict[str, Tensor]
    whole: dict[str, Tensor]


def catalog_requests(
    records: Records, task: str, part: Part | str, settings: Batching | None = None
) -> "tf.data.Dataset[CatalogRequests]":
    """Returns the requests that `evaluation_batches` has of a task, in batches without candidates.

    Args:
        records: a records folder.
        task: a task with sampled negatives.
        part: validation or test.
        settings: sizes.

    Raises:
        ValueError: the candidates of the task are impressions.
    """
    settings, schema = settings or Batching(), records.schema
    if schema.tasks[task].candidates is Candidates.IMPRESSIONS:
        raise ValueError(
            f"Expected a task with sampled negatives. The candidates of {task} are impressions: only what was shown "
            "has a label, and the context of having been shown."
        )
    group, whole_schema = schema.tasks[task].group, uncut(schema)
    seeds = tf.constant([EVALUATION_SEED, 0], tf.int64)

    def chunk_batches(chunk_number: Tensor, serialized: Tensor) -> tf.data.Dataset:
        seed = chunk_seed(seeds, chunk_number)
        chunk = parse(serialized, schema)
        targets = chunk_targets(chunk, schema, task, Part(part), settings, seed)
        whole = chunk_targets(chunk, whole_schema, task, Part(part), settings, seed)
        rows = chunk.groups[group]
        moments = rows.user * SPAN + rows.timestamp
        chosen_ids = tf.where(positive_behaviors(chunk, schema, task), rows.id, 0)
        order, limits = batch_limits(
            history_lengths(targets), tokens=EVALUATION_TOKENS, rows=settings.evaluation_batch_size, seed=seed
        )

        def batch(limit: Tensor) -> CatalogRequests:
            places = order[limit[0] : limit[1]]
            picked, picked_whole = targets.take(places), whole.take(places)
            now = {"now": picked.request_time}
            moment = picked.user * SPAN + picked.request_time
            indices, mask = window_indices(first_at_least(moments, moment), first_at_least(moments, moment + 1))
            return CatalogRequests(
                users=tf.gather(chunk.user_id, picked.user),
                positive=tf.gather(rows.id, picked.index),
                same_moment=gather_padded(chosen_ids, indices, mask),
                inputs=now | user_inputs(chunk, picked),
                whole=now | user_inputs(chunk, picked_whole),
            )

        limits = tf.data.Dataset.from_tensor_slices(limits)
        return limits.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    batches = read_chunks(records, Part(part), seeds).flat_map(without_autograph(chunk_batches))
    return batches.prefetch(tf.data.AUTOTUNE)
