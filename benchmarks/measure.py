"""Measurements: seconds of `fit` steps, matrix products in a step, the machine's peak, and worker processes."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

PEAK_SIZE = 2048
"""Rows and columns of the matrices whose product is the machine's peak."""


class StepClock(keras.callbacks.Callback):
    """Callback that records the time at which each step of `fit` ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.ends.append(time.perf_counter())


def fit_seconds(model: Any, dataset: Any, first: int, steps: int) -> np.ndarray:
    """Returns the seconds of each of `steps` steps of `fit`, after `first` steps that are not counted."""
    clock = StepClock()
    model.fit(dataset, steps_per_epoch=first + steps, shuffle=False, verbose=0, callbacks=[clock])
    return np.diff(clock.ends[first - 1 :])


def matmul_peak() -> float:
    """Returns the most float32 operations per second of products of two square matrices, the best of five.

    Where an operation has the threads of some cores only, as many products run at once as use all cores.
    """
    products = cores() // (tf.config.threading.get_intra_op_parallelism_threads() or cores())
    matrices = [tf.random.normal([PEAK_SIZE, PEAK_SIZE]) for _ in range(products)]
    multiply = tf.function(lambda: [tf.matmul(matrix, matrix) for matrix in matrices])
    multiply()
    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        [product.numpy() for product in multiply()]
        best = min(best, time.perf_counter() - started)
    return products * 2 * PEAK_SIZE**3 / best


def cores() -> int:
    """Returns how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def matmul_flops(model: Any, batch: Any) -> float:
    """Returns the operations of all matrix products in a training step on a batch, two for each multiply-add.

    Counted in the graph of the step, forward and backward, traced for the batch's shapes; Einsum counts as the matrix
    product that it is. Nothing else counts: no lookups, activations, norms, softmax, optimizer. NaN where a size is
    known only when the step runs, as in models that embed each candidate of a batch once, and where products are in
    convolutions or loops.
    """
    specs = tf.nest.map_structure(tf.type_spec_from_value, batch)
    return _flops(tf.function(model.train_step).get_concrete_function(specs).graph)


def _flops(graph: Any) -> float:
    total = 0.0
    for operation in graph.get_operations():
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            total += _flops(graph._get_function(operation.get_attr("f").name).graph)
        elif operation.type == "MatMul":
            rows = operation.inputs[0].shape[0 if operation.get_attr("transpose_a") else 1]
            total += _products(rows, operation.outputs[0].shape)
        elif operation.type.startswith("BatchMatMul"):
            rows = operation.inputs[0].shape[-2 if operation.get_attr("adj_x") else -1]
            total += _products(rows, operation.outputs[0].shape)
        elif operation.type.startswith("Conv2D") or operation.type in ("While", "StatelessWhile"):
            total += float("nan")
        elif operation.type == "Einsum":
            total += 2 * _einsum_products(operation)
    return total


def _products(summed: int | None, shape: Any) -> float:
    elements = shape.num_elements()
    return float("nan") if summed is None or elements is None else 2.0 * summed * elements


def _einsum_products(operation: Any) -> int:
    sizes: dict[str, int] = {}
    letters = operation.get_attr("equation").decode().split("->")[0].split(",")
    for names, tensor in zip(letters, operation.inputs, strict=True):
        before, dots, after = names.partition("...")
        shape = tensor.shape.as_list()
        hidden = len(shape) - len(before) - len(after) if dots else 0
        labels = [*before, *(f"...{hidden - place}" for place in range(hidden)), *after]
        sizes |= dict(zip(labels, shape, strict=True))
    return int(np.prod(list(sizes.values()), dtype=np.int64))


def count_rows(batch: Any) -> int:
    """Returns the (history, candidate) pairs of a batch that count in the loss: labels whose weight is not 0."""
    return sum(int(tf.math.count_nonzero(weight)) for _, weight in _labels(batch))


def count_targets(batch: Any) -> int:
    """Returns the positives among the rows of a batch."""
    return sum(int(tf.math.count_nonzero(label * weight)) for label, weight in _labels(batch))


def _labels(batch: Any) -> list[tuple[Any, Any]]:
    labels = tf.nest.flatten(batch[1], expand_composites=True)
    weights = tf.nest.flatten(batch[2], expand_composites=True) if len(batch) > 2 else map(tf.ones_like, labels)
    return list(zip(labels, weights, strict=True))


def shapes(batch: Any) -> str:
    """Returns the shapes of all tensors in a batch, as one string."""
    return str([tuple(value.shape) for value in tf.nest.flatten(batch, expand_composites=True)])


class Worker:
    """Measuring process that answers each line on its stdin by a line of JSON on its stdout."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: str) -> Any:
        """Sends a line and returns the answer.

        Raises:
            ValueError: the process ended; it has said on stderr why.
        """
        self._process.stdin.write(f"{question}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        answer = self._process.stdout.readline()  # type: ignore[union-attr]
        if not answer:
            raise ValueError(f"A measurement ended without an answer to {question!r}.")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def ask_once(question: str, *arguments: str) -> Any:
    """Returns the answer of a `Worker` that is asked nothing else: the peak of a process's memory never falls."""
    worker = Worker(*arguments)
    answer = worker.ask(question)
    worker.close()
    return answer


def answer_questions(answers: dict[str, Any]) -> None:
    """Answers the questions of a `Worker`: calls `answers[question]()` for every line on stdin."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answers[line.strip()]()) + "\n")
        sys.stdout.flush()
