"""A training step of one table, and how often its graph reads the table or a slot of it whole."""

from typing import Any

import tensorflow as tf

OPEN = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, None], tf.float32))
"""The forms of what `step_of` takes."""


def step_of(layer: Any, optimizer: Any) -> Any:
    """One step as training does it: a lookup, a gradient through it, an update.

    Returns:
        A `tf.function` (ids int64 [M], the gradient of what is read of them float32 [M, D]) -> what was read [M, D].
    """
    optimizer.build(layer.trainable_variables)

    @tf.function(reduce_retracing=True)
    def step(ids: Any, pull: Any) -> Any:
        with tf.GradientTape() as tape:
            read = layer(ids, training=True)
            loss = tf.reduce_sum(tf.cast(pull, read.dtype) * read)
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
        return read

    return step


def whole_reads(step: Any, rows: int) -> int:
    """Returns how many operations of a step, in functions that it calls too, read a variable of so many rows whole."""
    graph = step.get_concrete_function(*OPEN).graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    shapes = [node.attr["_output_shapes"].list.shape[0] for node in nodes if node.op == "ReadVariableOp"]
    return sum(not shape.unknown_rank and [each.size for each in shape.dim[:1]] == [rows] for shape in shapes)
