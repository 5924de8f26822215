"""The functions that XLA compiles: for which sizes, and that they change no variable."""

from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.layers import Dropout
from atrank_tf.models.dense_core import DenseCore


def _core_and_layer() -> tuple[DenseCore, Dropout]:
    return DenseCore(Dropout(0.5, seed=3).draw), Dropout(0.5, seed=4)


def test_each_call_drops_anew_and_the_layer_inside_keeps_its_state() -> None:
    core, layer = _core_and_layer()
    state = layer.seed_generator.state.numpy()
    with core.under_xla():
        one, two = (np.asarray(core("drop", lambda x: layer(x, training=True), tf.ones((40, 50)))) for _ in range(2))
    assert 0.4 < (one != two).mean() < 0.6
    np.testing.assert_array_equal(layer.seed_generator.state.numpy(), state)


def test_sizes_are_noted_once_and_only_under_xla() -> None:
    core, _ = _core_and_layer()

    def double(x: Any) -> Any:
        return 2 * x

    call = tf.function(lambda x: core("double", double, x), reduce_retracing=True)
    assert float(core("double", double, tf.constant(3.0))) == 6 and not core.sizes
    with core.under_xla():
        for rows in (2, 2, 5):
            np.testing.assert_array_equal(call(tf.ones((rows, 3))), np.full((rows, 3), 2.0))
    assert core.sizes == {("double", (2, 3)), ("double", (5, 3))}


def test_rows_are_padded_under_xla_alone() -> None:
    core, _ = _core_and_layer()
    rows = tf.ones((9, 2))
    assert core.with_padding(rows) is rows and core.size(9) == 9
    with core.under_xla():
        np.testing.assert_array_equal(core.with_padding(rows), [[1, 1]] * 9 + [[0, 0]])
        assert int(core.size(tf.constant(9))) == 10
