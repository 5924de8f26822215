"""Histories without their padding, by hand: three users, up to three products and two queries each."""

from typing import Any

import pytest
import tensorflow as tf

from atrank_tf.models.packed_histories import PackedHistories

INPUTS = {
    "product__id": [[11, 12, 13], [21, 0, 0], [0, 0, 0]],
    "product__action": [[2, 3, 4], [5, 0, 0], [0, 0, 0]],
    "product__timestamp": [[100, 200, 300], [150, 0, 0], [0, 0, 0]],
    "query__id": [[0, 0], [31, 32], [0, 0]],
    "query__action": [[0, 0], [6, 7], [0, 0]],
    "query__timestamp": [[0, 0], [110, 120], [0, 0]],
}


@pytest.fixture
def inputs() -> dict[str, Any]:
    return {name: tf.constant(values, tf.int64) for name, values in INPUTS.items()}


def test_the_behaviors_of_each_user_stand_together_group_after_group(inputs: dict[str, Any]) -> None:
    packed = PackedHistories(inputs, ("product", "query"))
    assert packed.ids["product"].numpy().tolist() == [11, 12, 13, 21]
    assert packed.actions["product"].numpy().tolist() == [2, 3, 4, 5]
    assert packed.ids["query"].numpy().tolist() == [31, 32]
    assert packed.actions["query"].numpy().tolist() == [6, 7]
    # Three places, where the inputs have five.
    assert packed.mask.numpy().tolist() == [[True] * 3, [True] * 3, [False] * 3]
    assert packed.columns["timestamp"].numpy().tolist() == [[100, 200, 300], [150, 110, 120], [0, 0, 0]]
    assert packed.columns["group"].numpy()[:2].tolist() == [[0, 0, 0], [0, 1, 1]]
    assert packed.place.numpy()[:2].tolist() == [[1, 2, 3], [1, 1, 2]]
    ids = tf.concat(list(packed.ids.values()), axis=0)
    assert packed.by_user(ids).numpy().tolist() == [[11, 12, 13], [21, 31, 32], [0, 0, 0]]


def test_a_moment_sees_the_newest_of_so_many_first_ones_of_each_group(inputs: dict[str, Any]) -> None:
    packed = PackedHistories(inputs, ("product", "query"))
    # [B, groups, P]: two moments.
    counts = tf.constant([[[1, 3], [0, 0]], [[0, 1], [1, 1]], [[0, 0], [0, 0]]], tf.int64)
    assert packed.windows(counts, [9, 9]).numpy().astype(int).tolist() == [
        [[1, 0, 0], [1, 1, 1]],
        [[0, 1, 0], [1, 1, 0]],
        [[0, 0, 0], [0, 0, 0]],
    ]
    assert packed.windows(counts, [2, 9]).numpy().astype(int).tolist() == [
        [[1, 0, 0], [0, 1, 1]],
        [[0, 1, 0], [1, 1, 0]],
        [[0, 0, 0], [0, 0, 0]],
    ]


def test_one_group_stays_as_it_is(inputs: dict[str, Any]) -> None:
    packed = PackedHistories(inputs, ("query",))
    assert packed.by_user(packed.ids["query"]).numpy().tolist() == INPUTS["query__id"]
    assert packed.by_user(packed.actions["query"]).numpy().tolist() == INPUTS["query__action"]
    assert packed.columns["timestamp"].numpy().tolist() == INPUTS["query__timestamp"]
    assert packed.mask.numpy().tolist() == [[False, False], [True, True], [False, False]]
    first = packed.windows(tf.constant([[[0]], [[1]], [[0]]], tf.int64), [9])
    assert first.numpy().astype(int).tolist() == [[[0, 0]], [[1, 0]], [[0, 0]]]


def test_nobody_did_anything() -> None:
    nothing = {name: tf.zeros((2, 0), tf.int64) for name in INPUTS}
    packed = PackedHistories(nothing, ("product", "query"))
    assert packed.mask.numpy().tolist() == [[False], [False]]
    assert packed.by_user(tf.zeros((0, 4))).shape == (2, 1, 4)
