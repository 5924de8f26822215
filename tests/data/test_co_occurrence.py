"""What tables begin with, against the singular vectors of the whole matrix."""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Part, Records, co_occurrence
from atrank_tf.data.chunk_reading import read_chunks
from atrank_tf.data.targets import parse
from atrank_tf.schema import FIRST_ROW, Split, SplitKind

TASKS = ["next_redemption"]


def _rows(records: Records) -> dict[str, np.ndarray]:
    return {entity: catalog.table_rows[:, np.newaxis] for entity, catalog in records.catalogs.items()}


def _matrix(records: Records, part: Part, rows: np.ndarray) -> np.ndarray:
    """Which user has which row of the table of products, by what was bought before the last list of coupons."""
    matrix: list[np.ndarray] = []
    for _, serialized in read_chunks(records, Part.TEST, tf.constant([0, 0], tf.int64)):
        chunk = parse(serialized, records.schema)
        bought, lists = chunk.groups["purchase"], chunk.requests["next_redemption"]
        for user in range(len(chunk.user_id)):
            asked = lists.timestamp.numpy()[lists.user.numpy() == user]
            if records.schema.split.kind is SplitKind.BY_TIME:
                end = records.schema.split.validation_from if part is Part.TRAINING else records.schema.split.test_from
                asked = asked[asked < end]
            else:
                asked = asked[: -2 if part is Part.TRAINING else -1]
            last = asked.max(initial=0)
            mine = (bought.user.numpy() == user) & (bought.timestamp.numpy() < last)
            has = np.zeros(records.schema.tables["product"].rows)
            has[rows[bought.id.numpy()[mine]]] = 1
            has[:FIRST_ROW] = 0
            matrix.append(has)
    return np.array(matrix)


def _similar(vectors: np.ndarray) -> np.ndarray:
    """Products of all pairs of rows, which do not depend on the signs of the columns."""
    return vectors @ vectors.T


@pytest.mark.parametrize(
    ("part", "kind", "hashes"),
    [
        (Part.TRAINING, SplitKind.BY_TIME, 1),
        (Part.TRAINING_AND_VALIDATION, SplitKind.LEAVE_LAST_OUT, 1),
        (Part.TRAINING, SplitKind.BY_TIME, 2),
        pytest.param(Part.TRAINING_AND_VALIDATION, SplitKind.BY_TIME, 1, marks=pytest.mark.slow),
        pytest.param(Part.TRAINING, SplitKind.LEAVE_LAST_OUT, 1, marks=pytest.mark.slow),
        pytest.param(Part.TRAINING_AND_VALIDATION, SplitKind.BY_TIME, 2, marks=pytest.mark.slow),
    ],
)
def test_4_vectors_are_the_singular_ones_of_histories_of_training_targets(
    records: Records, part: Part, kind: SplitKind, hashes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["atrank_tf.data.co_occurrence"], "_PASSES", 25)  # Until nothing changes.
    other = Records(records.path)
    if kind is SplitKind.LEAVE_LAST_OUT:
        other.schema = replace(records.schema, split=Split(kind=kind))
    rows = _rows(other)["product"]
    if hashes == 2:  # Two rows for each product, that others have too.
        rows = np.concatenate([rows, np.where(rows < FIRST_ROW, rows, FIRST_ROW + rows * 7 % 11)], axis=1)
    matrix = _matrix(other, part, rows)
    of_user, of_row = matrix.sum(axis=1, keepdims=True), matrix.sum(axis=0)
    assert 10 < np.count_nonzero(of_row) < len(of_row)
    scaled = matrix / np.sqrt(np.maximum(of_user, 1)) / np.sqrt(of_row + 5)
    _, values, right = np.linalg.svd(scaled, full_matrices=False)
    (found,) = co_occurrence(other, TASKS, {"product": rows}, part).values()
    dim = other.schema.tables["product"].dim
    expected = (right.T * np.sqrt(values))[:, 1 : dim + 1]
    expected[of_row == 0] = 0
    expected = expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(_similar(found), _similar(expected), atol=2e-3)
    assert not found[of_row == 0].any()


def test_only_groups_that_no_task_predicts_say_what_belongs_together(records: Records) -> None:
    rows = _rows(records)
    assert list(co_occurrence(records, TASKS, rows)) == ["product"]
    assert list(co_occurrence(records, ["next_purchase"], rows)) == ["coupon"]
    assert not co_occurrence(records, ["next_purchase", "next_redemption"], rows)
    assert not co_occurrence(records, TASKS, {"coupon": rows["coupon"]}), "No rows, as of ids without a table."


def test_where_nobody_did_anything_nothing_is_known(records: Records) -> None:
    other = Records(records.path)
    other.schema = replace(records.schema, split=replace(records.schema.split, validation_from=1))
    assert not co_occurrence(other, TASKS, _rows(records))


def test_workers_add_up_their_shares(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["atrank_tf.data.co_occurrence"], "_PASSES", 2)
    whole = co_occurrence(records, TASKS, _rows(records))["product"]
    shares = [records.of_worker(index, 2) for index in range(2)]
    sums: list[np.ndarray] = []
    parts: list[np.ndarray] = []

    def adding(calls: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        def total(array: np.ndarray) -> np.ndarray:
            calls.append(array)
            return sums[len(calls) - 1] if len(calls) <= len(sums) else array

        return total

    for number in range(4):  # One sum of users, and one of each pass.
        calls: list[list[np.ndarray]] = [[], []]
        parts = [
            co_occurrence(share, TASKS, _rows(share), total=adding(of_share))["product"]
            for share, of_share in zip(shares, calls, strict=True)
        ]
        if number < 3:
            sums.append(calls[0][number] + calls[1][number])
    np.testing.assert_array_equal(parts[0], parts[1])
    np.testing.assert_allclose(_similar(parts[0]), _similar(whole), atol=1e-3)
