"""A model as a function: batches of any size, its inputs picked from more, one trace."""

import keras
import numpy as np

from atrank_tf.models.inputs import traced


def test_batches_of_any_size_and_dtype_are_picked_from_more_inputs_and_traced_once() -> None:
    calls = []

    class Double(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x):
            calls.append(x.dtype)
            return 2 * x

    x = keras.Input((3,), name="x")
    model = keras.Model({"x": x}, {"y": Double()(x)})
    calls.clear()
    function = traced(model)
    for rows in (2, 5, 0):
        given = np.ones((rows, 3), "int64")
        np.testing.assert_array_equal(function({"x": given, "other": given})["y"], np.full((rows, 3), 2.0, "float32"))
    assert len(calls) == 1
