"""Learned weights of losses, by hand."""

import numpy as np
import tensorflow as tf

from atrank_tf.layers import TaskUncertainty


def test_losses_count_by_their_uncertainty_and_absent_tasks_not_at_all() -> None:
    layer = TaskUncertainty(2)
    losses = np.array([3.0, 4.0], np.float32)
    np.testing.assert_allclose(layer(losses, np.array([True, True])), [3.0, 4.0])
    layer.log_variances.assign([np.log(2.0), 0.5])
    # Half of 3, and half of the logarithm of 2.
    np.testing.assert_allclose(layer(losses, np.array([True, False])), [1.846574, 0.0], atol=1e-5)


def test_the_best_variance_is_twice_the_loss() -> None:
    layer = TaskUncertainty(1)
    layer.build()
    layer.log_variances.assign([np.log(2 * 0.3)])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.constant([0.3]), tf.constant([True])))
    np.testing.assert_allclose(tape.gradient(total, layer.log_variances.value), [0.0], atol=1e-6)
