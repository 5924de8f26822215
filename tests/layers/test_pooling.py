"""Mean, maximum and last state over what is real."""

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import LastState, MaxPooling, MeanPooling

B, T, VALUES, D = 2, 3, 5, 7
MASK = np.arange(VALUES) < np.array([[[5], [2], [0]], [[1], [0], [4]]])
EMBEDDINGS = np.random.default_rng(0).normal(size=(B, T, VALUES, D))


def _pool(embeddings: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.asarray(MeanPooling(dtype="float64")(embeddings, mask))


def test_a_mean_by_hand() -> None:
    embeddings = np.array([[[1.0, 10.0], [4.0, 50.0], [100.0, 100.0]]])
    np.testing.assert_allclose(_pool(embeddings, np.array([[True, True, False]])), [[2.5, 30.0]])


def test_the_output_is_the_mean_over_the_real_values() -> None:
    expected = np.zeros((B, T, D))
    for place in np.ndindex(B, T):
        if MASK[place].any():
            expected[place] = EMBEDDINGS[place][MASK[place]].mean(axis=0)
    np.testing.assert_allclose(_pool(EMBEDDINGS, MASK), expected, rtol=1e-12, atol=1e-15)


def test_no_value_gives_exactly_zero() -> None:
    found = _pool(EMBEDDINGS, MASK)
    np.testing.assert_array_equal(found[~MASK.any(axis=-1)], 0.0)
    assert (found[MASK.any(axis=-1)] != 0).all()


def test_real_values_may_stand_anywhere() -> None:
    found = _pool(EMBEDDINGS[..., ::-1, :], MASK[..., ::-1])
    np.testing.assert_allclose(found, _pool(EMBEDDINGS, MASK), rtol=1e-12, atol=1e-15)


def test_garbage_in_padding_and_more_padding_change_nothing() -> None:
    expected = _pool(EMBEDDINGS, MASK)
    dirty = np.where(MASK[..., None], EMBEDDINGS, 1e6)
    np.testing.assert_array_equal(_pool(dirty, MASK), expected)
    longer = np.pad(dirty, ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=-1e6)
    np.testing.assert_allclose(_pool(longer, np.pad(MASK, ((0, 0), (0, 0), (0, 2)))), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", [(B, 0, VALUES, D), (B, T, 0, D)])
def test_no_objects_and_no_room_for_values_are_allowed(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(_pool(np.ones(shape), np.ones(shape[:-1], bool)), np.zeros((*shape[:2], D)))


def test_gradients_share_the_mean_and_are_zero_in_padding() -> None:
    embeddings = tf.constant(EMBEDDINGS)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        total = tf.reduce_sum(MeanPooling(dtype="float64")(embeddings, MASK))
    share = MASK / np.maximum(MASK.sum(axis=-1, keepdims=True), 1)
    expected = np.broadcast_to(share[..., None], EMBEDDINGS.shape)
    np.testing.assert_allclose(np.asarray(tape.gradient(total, embeddings)), expected, rtol=1e-12)


def test_a_maximum_is_that_of_what_is_real_and_nothing_gives_zeros() -> None:
    states = np.array([[[-1.0, 5.0], [-2.0, 3.0], [9.0, 9.0]]] * 2)
    mask = np.array([[True, True, False], [False, False, False]])
    np.testing.assert_array_equal(np.asarray(MaxPooling()(states, mask)), [[-1.0, 5.0], [0.0, 0.0]])


def test_the_last_state_is_that_of_the_last_real_place() -> None:
    states = np.arange(1.0, 13.0).reshape(3, 4, 1)
    mask = np.arange(4) < np.array([[4], [2], [0]])
    np.testing.assert_array_equal(np.asarray(LastState()(states, mask)), [[4.0], [6.0], [0.0]])


def test_a_sequence_of_no_places_has_a_last_state_of_zeros() -> None:
    np.testing.assert_array_equal(
        np.asarray(LastState()(np.zeros((2, 0, 3)), np.zeros((2, 0), bool))), np.zeros((2, 3))
    )
