"""Behaviors in the order of time, by hand and for any order in which they come."""

import numpy as np
import tensorflow as tf

from atrank_tf.layers import TimeOrder

RNG = np.random.default_rng(0)
NOW = 1_700_000_000


def test_the_oldest_is_first_and_padding_last() -> None:
    behaviors = np.array([[[1.0], [2.0], [3.0], [4.0]]])
    mask = np.array([[True, False, True, True]])
    timestamp = np.array([[NOW + 1, 5, NOW - 7, NOW]])
    found, real = TimeOrder()(behaviors, mask, timestamp, np.array([[0, 0, 0, 0]]))
    np.testing.assert_array_equal(np.asarray(found)[0, :, 0], [3.0, 4.0, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(np.asarray(real), [[True, True, True, False, False]])


def test_of_one_moment_the_smaller_content_is_first() -> None:
    behaviors = np.arange(1.0, 6.0)[None, :, None]
    timestamp, content = np.array([[9, 9, 8, 9, 9]]), np.array([[7, 4, 9, 1 << 40, 0]])
    found, _ = TimeOrder()(behaviors, np.ones((1, 5), bool), timestamp, content)
    np.testing.assert_array_equal(np.asarray(found)[0, :, 0], [3.0, 5.0, 2.0, 1.0, 4.0, 0.0])


def test_the_order_in_which_behaviors_come_does_not_matter() -> None:
    behaviors, mask = RNG.normal(size=(7, 11, 3)), RNG.random((7, 11)) < 0.7
    timestamp = NOW + RNG.integers(0, 4, (7, 11))
    content = np.stack([RNG.permutation(11) for _ in range(7)])
    expected = [np.asarray(each) for each in TimeOrder()(behaviors, mask, timestamp, content)]
    place = RNG.permutation(11)
    turned = TimeOrder()(*(each[:, place] for each in (behaviors, mask, timestamp, content)))
    for a, b in zip(turned, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)


def test_an_empty_history_is_one_place_of_padding() -> None:
    nothing = np.zeros((2, 0), np.int64)
    found, real = TimeOrder()(np.zeros((2, 0, 3), np.float32), nothing > 0, nothing, nothing)
    np.testing.assert_array_equal(np.asarray(found), np.zeros((2, 1, 3)))
    np.testing.assert_array_equal(np.asarray(real), [[False], [False]])


def test_a_behavior_gets_the_gradient_of_its_place() -> None:
    behaviors = tf.constant([[[1.0], [2.0], [3.0]]])
    with tf.GradientTape() as tape:
        tape.watch(behaviors)
        found, _ = TimeOrder()(behaviors, np.array([[True, False, True]]), np.array([[2, 0, 1]]), np.zeros((1, 3), int))
        total = tf.reduce_sum(found[0, :, 0] * [10.0, 100.0, 1000.0, 1000.0])
    np.testing.assert_array_equal(np.asarray(tape.gradient(total, behaviors))[0, :, 0], [100.0, 0.0, 10.0])
