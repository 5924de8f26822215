"""A Keras model -> a function that is traced once, for batches of any size."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


def traced(model: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Returns a graph function of a Keras model that takes batches of any size, and picks its inputs from more."""
    specs = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs}
    function = tf.function(lambda inputs: model(inputs, training=False), input_signature=[specs], autograph=False)
    return lambda inputs: function({name: tf.cast(inputs[name], specs[name].dtype) for name in specs})
