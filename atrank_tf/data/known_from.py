"""From when on the id of each object is known to a server that has seen the data so far."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, read_chunks, without_autograph
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Chunk, Part, counted_until, impression_tasks, parse
from atrank_tf.schema import UNKNOWN, SplitKind
from atrank_tf.types import Tensor

NEVER = np.iinfo(np.int64).max
"""In place of a time: the id of the object never becomes known, as it has no row of its own."""
_Uses = tuple[tuple[Tensor, Tensor], ...]
"""What was done, and what each task showed: objects and Unix seconds, int64 [M] each."""


def known_from(
    records: Records,
    entities: Sequence[str],
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> dict[str, np.ndarray]:
    """Returns since when the id of each object is known: entity -> Unix seconds, int64 [rows of its catalog].

    That is when something had been done with it, or a task had shown it, as often as the `min_count` of its table says.
    A rare object, which shares the row of unknown ids, is never known. One that has its row for other uses, as in
    groups that the model does not read, always is; and so are all under a split that is not by time, where no moment
    divides what a server knew from what it did not.

    Args:
        records: a records folder, which is read once.
        entities: entities whose ids have a table.
        part: of the data that counts.
        total: sums an array over the workers who share the records.
    """
    schema = records.schema
    since = {entity: np.zeros(schema.entities[entity].rows, np.int64) for entity in entities}
    if entities and schema.split.kind is SplitKind.BY_TIME:
        enough = {entity: schema.tables[schema.entities[entity].id.table].min_count for entity in entities}
        for entity, first in _first_uses(records, enough, part).items():
            since[entity] = _reached(first, enough[entity], total)
    rare = {entity: records.catalogs[entity].table_rows == UNKNOWN for entity in entities}
    return {entity: np.where(rare[entity], NEVER, since[entity]) for entity in entities}


def _reached(first: list[np.ndarray], enough: int, total: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns when each object had enough uses of one kind, those of all workers together; 0 if never: int64 [rows]."""
    found = np.full(len(first[0]), SPAN)
    low = np.zeros_like(found)  # Exclusive, as `found` is inclusive: no use is at 0, which is padding.
    while (found - low > 1).any():
        middle = (low + found) // 2
        known = [total((each <= middle[:, np.newaxis]).sum(axis=1)) >= enough for each in first]
        found, low = np.where(np.any(known, axis=0), (middle, low), (found, middle))
    return np.where(found == SPAN, 0, found)


def _first_uses(records: Records, enough: Mapping[str, int], part: Part) -> dict[str, list[np.ndarray]]:
    """Returns when each object was first used, of each kind of use: Unix seconds, ascending, int64 [rows, enough]."""

    def of_chunk(_: Tensor, serialized: Tensor) -> dict[str, _Uses]:
        chunk = parse(serialized, records.schema)
        return {entity: _uses(chunk, records, entity, part) for entity in enough}

    chunks = read_chunks(records, part, tf.constant([EVALUATION_SEED, 0], tf.int64))
    chunks = chunks.map(without_autograph(of_chunk), num_parallel_calls=tf.data.AUTOTUNE)
    first = {
        entity: [np.full((records.schema.entities[entity].rows, enough[entity]), NEVER) for _ in kinds]
        for entity, kinds in chunks.element_spec.items()
    }
    for found in chunks.as_numpy_iterator():
        for entity, kinds in found.items():
            for times, (ids, timestamps) in zip(first[entity], kinds, strict=True):
                _add_uses(times, ids, timestamps)
    return first


def _add_uses(first: np.ndarray, ids: np.ndarray, timestamps: np.ndarray) -> None:
    """Puts uses of objects, int64 [M] each, among the first of each, int64 [rows, number], in place."""
    number = first.shape[1]
    order = np.lexsort((timestamps, ids))
    objects, begins, counts = np.unique(ids[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(begins, counts)
    new = np.full((len(objects), number), NEVER)
    row = np.repeat(np.arange(len(objects)), counts)
    new[row[place < number], place[place < number]] = timestamps[order][place < number]
    first[objects] = np.sort(np.concatenate([first[objects], new], axis=1), axis=1)[:, :number]


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
    return tuple(tuple(tf.boolean_mask(each, times < until) for each in (ids, times)) for ids, times in found)
