"""Since when the ids of objects are known: what a server would have known of them at a moment of the training."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, read_chunks, without_autograph
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Chunk, Part, counted_until, impression_tasks, parse
from atrank_tf.schema import UNKNOWN, SplitKind
from atrank_tf.types import Tensor

NEVER = np.iinfo(np.int64).max
"""Since when an object is known whose id has no row of its own."""
_Uses = list[tuple[Tensor, Tensor]]
"""What was done, and what each task showed: objects and Unix seconds, int64 [M] each."""


def known_from(
    records: Records,
    entity: str,
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> np.ndarray:
    """Returns since when the id of each object is known, Unix seconds, int64 [rows of the entity's catalog].

    That is when something had been done with it, or a task had shown it, as often as the `min_count` of its table says.
    A rare object, which shares the row of unknown ids, is never known. One that has its row for other uses, as in
    groups that the model does not read, always is; and so are all under a split that is not by time, where no moment
    divides what a server knew from what it did not.

    Args:
        records: a records folder.
        entity: an entity whose ids have a table.
        part: of the data that counts.
        total: sums an array over the workers who share the records.
    """
    table_rows = records.catalogs[entity].table_rows
    found = np.full(len(table_rows), SPAN)
    if records.schema.split.kind is SplitKind.BY_TIME:
        enough = records.schema.tables[records.schema.entities[entity].id.table].min_count
        first = _first_uses(records, entity, part, enough)
        low = np.zeros_like(found)  # Exclusive, as `found` is inclusive: no use is at 0, which is padding.
        while (found - low > 1).any():
            middle = (low + found) // 2
            known = [total((each <= middle[:, np.newaxis]).sum(axis=1)) >= enough for each in first]
            found, low = np.where(np.any(known, axis=0), (middle, low), (found, middle))
    return np.where(table_rows == UNKNOWN, NEVER, np.where(found == SPAN, 0, found))


def _first_uses(records: Records, entity: str, part: Part, number: int) -> list[np.ndarray]:
    """Returns when each object was first used, of each kind of use: Unix seconds, ascending, int64 [rows, number]."""

    def of_chunk(_: Tensor, serialized: Tensor) -> _Uses:
        return _uses(parse(serialized, records.schema), records, entity, part)

    chunks = read_chunks(records, part, tf.constant([EVALUATION_SEED, 0], tf.int64))
    chunks = chunks.map(without_autograph(of_chunk), num_parallel_calls=tf.data.AUTOTUNE)
    rows = records.schema.entities[entity].rows
    first = [np.full((rows, number), NEVER) for _ in chunks.element_spec]
    for kinds in chunks.as_numpy_iterator():
        for times, (ids, timestamps) in zip(first, kinds, strict=True):
            order = np.lexsort((timestamps, ids))
            objects, begins, counts = np.unique(ids[order], return_index=True, return_counts=True)
            place = np.arange(len(order)) - np.repeat(begins, counts)
            new = np.full((len(objects), number), NEVER)
            row = np.repeat(np.arange(len(objects)), counts)
            new[row[place < number], place[place < number]] = timestamps[order][place < number]
            times[objects] = np.sort(np.concatenate([times[objects], new], axis=1), axis=1)[:, :number]
    return first


def _uses(chunk: Chunk, records: Records, entity: str, part: Part) -> _Uses:
    schema = records.schema
    groups = [name for name, group in schema.groups.items() if group.entity == entity]
    own = [chunk.groups[name] for name in groups]
    found = [(tf.concat([each.id for each in own], axis=0), tf.concat([each.timestamp for each in own], axis=0))]
    for task, _ in impression_tasks(schema):
        if schema.tasks[task].group in groups:
            shown = chunk.requests[task]
            found.append((shown.id, tf.repeat(shown.timestamp, shown.ends - shown.starts)))
    until = counted_until(schema.split, part)
    return [tuple(tf.boolean_mask(each, times < until) for each in (ids, times)) for ids, times in found]
