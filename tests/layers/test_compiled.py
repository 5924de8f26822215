"""What layers do in a function that XLA compiles."""

import numpy as np
import tensorflow as tf

from atrank_tf.layers import Dropout, compiled

ONES = np.ones((101, 103), "float32")


def test_calls_of_dropout_draw_from_the_given_seed_each_its_own_and_change_nothing() -> None:
    layers = [Dropout(0.5, seed=1), Dropout(0.5, seed=1)]
    states = [layer.seed_generator.state.numpy() for layer in layers]

    def drop(seed: int) -> list[np.ndarray]:
        with compiled(tf.constant([5, seed], tf.uint32)):
            return [np.asarray(layers[number](ONES, training=True)) > 0 for number in (0, 1, 0)]

    first, again, other = drop(3), drop(3), drop(4)
    np.testing.assert_array_equal(first, again)
    limit = 4 / np.sqrt(ONES.size)
    for one, two in [(first[0], first[1]), (first[0], first[2]), (first[1], first[2]), (first[0], other[0])]:
        assert abs(np.mean((one == two).astype(float)) - 0.5) < limit
    for layer, state in zip(layers, states, strict=True):
        np.testing.assert_array_equal(layer.seed_generator.state.numpy(), state)


def test_afterwards_a_layer_draws_from_its_own_state() -> None:
    with compiled(tf.zeros(2, tf.uint32)):
        pass
    expected = np.asarray(Dropout(0.5, seed=2)(ONES, training=True))
    layer = Dropout(0.5, seed=2)
    with compiled(tf.zeros(2, tf.uint32)):
        assert (np.asarray(layer(ONES, training=True)) != expected).any()
    np.testing.assert_array_equal(np.asarray(layer(ONES, training=True)), expected)


def test_a_seed_may_be_drawn_ahead() -> None:
    assert Dropout(0.0).draw().numpy().tolist() == [0, 0]
    layer = Dropout(0.5, seed=2)
    one, two = layer.draw().numpy(), layer.draw().numpy()
    assert one.dtype == np.uint32 and (one != two).any()
