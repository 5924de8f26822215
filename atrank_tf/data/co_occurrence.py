"""First values of embedding tables of ids: objects that the same users did something with get similar vectors."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, read_chunks, without_autograph
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Part, find_targets, parse
from atrank_tf.progress import progress
from atrank_tf.schema import FIRST_ROW, Schema
from atrank_tf.types import Tensor

_PASSES = 5
_SPARE = 8
"""Directions beyond those that are asked for, so that the last of these converge, too."""
_PRIOR = 5
"""Users added to those of a row, so that rows of a single user are not the loudest."""
_ROUNDING = 1e-6
"""Share of the largest squared singular value below which there is nothing but rounding."""
_Done = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Entity -> users and objects of behaviors, int64 [M] each."""


def co_occurrence(
    records: Records,
    tasks: Sequence[str],
    rows: Mapping[str, np.ndarray],
    part: Part = Part.TRAINING,
    total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> dict[str, np.ndarray]:
    """Returns vectors of the rows of tables of ids, alike where the same users had both: table -> float32 [rows, dim].

    A user has what is in the histories of their targets, of groups that no task predicts: views, where purchases are
    predicted. So no vector holds a target, nor anything of validation or test. Tables of which nobody did anything are
    left out.

    The vectors are the right singular vectors of the matrix of users and rows: 1 where a user has an object with the
    row, divided by the roots of both sums; times the roots of the singular values, and then of length 1. The first
    singular vector, which says how frequent a row is, is left out. Rows that nobody has are 0. The records are read
    six times; memory is that of the tables twice.

    Args:
        records: a records folder, of the groups that a model reads.
        tasks: the tasks that it predicts.
        rows: entity -> the rows that its objects have in the table of their ids, int [rows of its catalog, H].
        part: of the targets.
        total: sums an array over the workers who share the records.

    Reference:
        Dhillon, "Co-clustering documents and words using bipartite spectral graph partitioning" (KDD 2001);
        PureSVD (Cremonesi et al., RecSys 2010); subspace iteration as in Halko et al. (arXiv 0909.4061).
    """
    schema, tables = records.schema, dict[str, dict[str, np.ndarray]]()
    for name in _not_predicted(schema, tasks):
        entity = schema.groups[name].entity
        if entity in rows:
            tables.setdefault(schema.entities[entity].id.table, {})[entity] = rows[entity]
    if not tables:
        return {}
    users = {name: np.zeros(schema.tables[name].rows, np.int64) for name in tables}
    histories = _histories(records, tasks, part)
    for done in histories.as_numpy_iterator():
        for name, rows_of in tables.items():
            users[name] += np.bincount(_pairs(rows_of, done)[1], minlength=len(users[name]))
    users = {name: total(of_row) for name, of_row in users.items()}
    found = {}
    with progress("what was done by the same users", "passes", _PASSES * len(tables)) as shown:
        for name, rows_of in tables.items():
            if not users[name].any():
                continue
            dim, of_row = schema.tables[name].dim, users[name][:, np.newaxis]
            scale = np.where(of_row > 0, (of_row + _PRIOR) ** -0.5, 0).astype(np.float32)
            shape = (len(scale), dim + 1 + _SPARE)
            basis, values = np.random.default_rng(0).normal(size=shape).astype(np.float32), np.zeros(0)
            for _ in range(_PASSES):
                basis *= scale
                product = np.zeros_like(basis)
                for done in histories.as_numpy_iterator():
                    _add_product(product, basis, *_pairs(rows_of, done))
                basis, values = _left_singular(total(product) * scale)
                shown.update(1)
            found[name] = _unit_vectors(basis * values**0.25, dim)
    return found


def _not_predicted(schema: Schema, tasks: Sequence[str]) -> list[str]:
    predicted = {schema.tasks[task].group for task in tasks}
    return [name for name in schema.groups if name not in predicted]


def _histories(records: Records, tasks: Sequence[str], part: Part) -> tf.data.Dataset:
    """Returns a `_Done` of each chunk: what is in the histories of targets, of groups that no task predicts."""
    schema = records.schema

    def of_chunk(_: Tensor, serialized: Tensor) -> dict[str, tuple[Tensor, ...]]:
        chunk = parse(serialized, schema)
        users = tf.size(chunk.user_id)
        targets = [find_targets(chunk, schema, task, part) for task in tasks]
        last = [tf.math.unsorted_segment_max(each.request_time, each.user, users) for each in targets]
        before = tf.reduce_max(last, axis=0)
        found: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for name in _not_predicted(schema, tasks):
            behaviors = chunk.groups[name]
            known = behaviors.timestamp < tf.gather(before, behaviors.user)
            done = tf.boolean_mask(behaviors.user, known), tf.boolean_mask(behaviors.id, known)
            found.setdefault(schema.groups[name].entity, []).append(done)
        return {
            entity: tuple(tf.concat(each, axis=0) for each in zip(*done, strict=True)) for entity, done in found.items()
        }

    chunks = read_chunks(records, part, tf.constant([EVALUATION_SEED, 0], tf.int64))
    return chunks.map(without_autograph(of_chunk)).prefetch(1)


def _pairs(rows: Mapping[str, np.ndarray], done: _Done) -> tuple[np.ndarray, np.ndarray]:
    """Returns users and the rows that they have, each pair once, by user: int64 [P] each."""
    keys = [done[entity][0][:, np.newaxis] * SPAN + of_objects[done[entity][1]] for entity, of_objects in rows.items()]
    user, row = np.divmod(np.unique(np.concatenate(keys, axis=None)), SPAN)
    return user[row >= FIRST_ROW], row[row >= FIRST_ROW]


def _add_product(product: np.ndarray, basis: np.ndarray, user: np.ndarray, row: np.ndarray) -> None:
    """Adds to each row the means over the rows of each of its users, float32 [rows, k], in place."""
    if not len(user):
        return
    _, begins, counts = np.unique(user, return_index=True, return_counts=True)
    of_user = np.add.reduceat(basis[row], begins, axis=0) / counts[:, np.newaxis].astype(np.float32)
    by_row = np.argsort(row, kind="stable")
    rows, begins = np.unique(row[by_row], return_index=True)
    product[rows] += np.add.reduceat(np.repeat(of_user, counts, axis=0)[by_row], begins, axis=0)


def _left_singular(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the left singular vectors of a matrix, float32 [rows, k], and its singular values, largest first."""
    squares, turn = np.linalg.eigh((matrix.T @ matrix).astype(np.float64))
    squares, turn = squares[::-1], turn[:, ::-1]
    real = squares > _ROUNDING * squares[0]
    values = np.sqrt(squares[real])
    return matrix @ (turn[:, real] / values).astype(np.float32), values.astype(np.float32)


def _unit_vectors(columns: np.ndarray, dim: int) -> np.ndarray:
    """Returns the rows of `dim` columns after the first, of length 1 or 0: float32 [rows, dim]."""
    vectors = columns[:, 1 : dim + 1]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.pad(vectors, ((0, 0), (0, dim - vectors.shape[1])))
