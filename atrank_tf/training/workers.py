"""Collective operations between the processes that train one model."""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import tensorflow as tf

_GROUP = 1_000_000  # Far from the numbers that the strategy gives.
_OPERATIONS: dict[str, Any] = {
    "sum": partial(tf.raw_ops.CollectiveReduceV2, merge_op="Add", final_op="Id"),
    "gather": tf.raw_ops.CollectiveGatherV2,
}
_KINDS = ("sum float32", "sum float64", "sum int32", "sum int64", "gather float32", "gather int32")
_LARGEST = 2**28
"""Most numbers in one message."""
_ROOMS = np.array([eighths << exponent for exponent in range(25) for eighths in range(8, 16)], np.int32)
"""8, 9, ..., 15, 16, 18, ..., 30, 32, 36, ...: the lengths of messages whose length varies. Few, so that few instances
are left in memory; none is more than an eighth longer than what it holds."""
_NUMBERS_AT_ONCE = 1 << 24
"""Numbers in one message, when a large array is summed."""
_ROWS_AT_ONCE = 1 << 14
"""Rows of a table in one message, when a whole table is sent: bounds the memory it takes."""


class Workers:
    """Processes that train one model together, and the collective operations between them.

    Each holds the whole model, as ordinary variables; TensorFlow's `MultiWorkerMirroredStrategy` only connects them.
    Every method is called by all of them, in the same order, or they wait for each other for ever. They work eagerly
    and in a `tf.function`. By default there is one worker, and no method costs anything.

    Attributes:
        number: how many there are.
        rank: which one this is, from 0; the chief is 0.
    """

    def __init__(self) -> None:
        self.number = 1
        self.rank = 0
        self._strategy: Any = None
        self._order: Any = None

    @classmethod
    def join(cls) -> Self:
        """Meets the other workers that the environment variable TF_CONFIG names; call it before anything computes.

        Raises:
            ValueError: TF_CONFIG is not what TensorFlow defines, or this process has several devices.
            ConnectionError: another worker did not come, or this one's address is taken.
        """
        workers = cls()
        workers.number, workers.rank = _number_and_rank(os.environ.get("TF_CONFIG", ""))
        try:
            workers._meet()
        except tf.errors.OpError as error:
            raise ConnectionError(
                f"Expected to meet the {workers.number} workers that TF_CONFIG names. Worker {workers.rank} failed: "
                f"{error.message}"
            ) from error
        return workers

    def _meet(self) -> None:
        if self.number > 1:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()  # Connected for as long as it lives.
            devices = self._strategy.num_replicas_in_sync
            if devices != self.number:
                raise ValueError(
                    f"Expected one device for each of {self.number} workers. Found {devices} in all. For several "
                    "GPUs, start a worker for each, with CUDA_VISIBLE_DEVICES."
                )
            # What holds the same resource runs in the order of the program, so on all workers in the same.
            self._order = tf.Variable(0.0, trainable=False)

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    def sum(self, tensors: Sequence[Any]) -> list[Any]:
        """Returns the sum of each tensor over the workers; shapes and dtypes are the same on all of them."""
        if self.number == 1:
            return list(tensors)
        result: list[Any] = [None] * len(tensors)
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            indices = [index for index, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = [tf.reshape(tensors[index], [-1]) for index in indices]
            total = self._collective("sum", tf.concat(flat, 0))
            for index, part in zip(indices, tf.split(total, [tf.size(part) for part in flat]), strict=True):
                result[index] = tf.reshape(part, tf.shape(tensors[index]))
        return result

    def total(self, array: np.ndarray) -> np.ndarray:
        """Returns the sum of an array over the workers, as `sum`, in messages of some rows each."""
        if self.number == 1:
            return array
        rows = max(1, _NUMBERS_AT_ONCE // array[0].size)
        parts = [array[begin : begin + rows] for begin in range(0, len(array), rows)]
        return np.concatenate([self.sum([tf.constant(part)])[0].numpy() for part in parts])

    def mean_gradients(self, gradients: Sequence[Any]) -> list[Any]:
        """Returns the mean of each gradient over the workers; None stays None.

        IndexedSlices have each row once; those that are returned may have a row once for each worker.
        """
        if self.number == 1:
            return list(gradients)
        result = list(gradients)
        sparse = [index for index, gradient in enumerate(gradients) if isinstance(gradient, tf.IndexedSlices)]
        dense = [index for index, gradient in enumerate(gradients) if gradient is not None and index not in sparse]
        for index, total in zip(dense, self.sum([gradients[index] for index in dense]), strict=True):
            result[index] = total / self.number
        for index, total in zip(sparse, self._gather_rows([gradients[index] for index in sparse]), strict=True):
            result[index] = tf.IndexedSlices(total.values / self.number, total.indices, total.dense_shape)
        return result

    def scale(self, mean: Any, weight: Any) -> Any:
        """Returns a mean over the batch of this worker as it is, with the gradient of the mean over all batches.

        To be used with `mean_gradients`, in which workers count alike: the gradient that flows into `mean` is
        multiplied by this worker's share of the weight, times the number of workers. An evaluation has no gradient,
        and so may have other batches, and more, than that of another worker.

        Args:
            mean: float scalar, a mean by weight.
            weight: float scalar, the sum of the weights.
        """
        if self.number == 1:
            return mean

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def scaled(mean: Any, weight: Any) -> Any:
            def gradient(upstream: Any) -> Any:
                (total,) = self.sum([weight])
                return upstream * tf.math.divide_no_nan(weight * self.number, total), tf.zeros_like(weight)

            return tf.identity(mean), gradient

        return scaled(mean, weight)

    def all_gather(self, counts: Sequence[int]) -> np.ndarray:
        """Returns the numbers that each worker gives, int64 [workers, numbers]."""
        gathered = np.zeros((self.number, len(counts)), np.int64)
        gathered[self.rank] = counts
        return np.asarray(self.sum([tf.constant(gathered)])[0])

    def broadcast(self, ask: Callable[[], int]) -> int:
        """Returns the answer of the chief, the only one that is asked."""
        (answer,) = self.sum([tf.constant(int(ask()) if self.is_chief else 0, tf.int64)])
        return int(answer)

    def broadcast_variables(self, variables: Sequence[Any]) -> None:
        """Sets variables to what they are on the chief, bit for bit."""
        if self.number == 1:
            return
        for variable in variables:
            rows = int(variable.shape[0]) if variable.shape.rank else 0
            if rows <= _ROWS_AT_ONCE:
                variable.assign(self._broadcast_tensor(tf.convert_to_tensor(variable)))
                continue
            for start in range(0, rows, _ROWS_AT_ONCE):
                ids = tf.range(start, min(start + _ROWS_AT_ONCE, rows))
                piece = self._broadcast_tensor(tf.gather(variable.value, ids))
                variable.value.scatter_update(tf.IndexedSlices(piece, ids))

    def _broadcast_tensor(self, value: Any) -> Any:
        """Returns the tensor of the chief, bit for bit; shape and dtype are the same on all of them."""
        # As whole numbers, because -0.0 + 0 is 0.0; and those of 16 bits as of 32, which TensorFlow can sum.
        whole = tf.bitcast(value, {2: tf.uint16, 4: tf.int32, 8: tf.int64}[value.dtype.size])
        sent = tf.cast(whole, tf.int64 if value.dtype.size == 8 else tf.int32)
        (sent,) = self.sum([sent if self.is_chief else tf.zeros_like(sent)])
        return tf.bitcast(tf.cast(sent, whole.dtype), value.dtype)

    def _gather(self, tensor: Any) -> Any:
        """Returns the tensors of all workers, [workers, ...], in TensorFlow's order; shapes and dtypes are the same."""
        every = self._collective("gather", tf.reshape(tensor, [-1]))
        return tf.reshape(every, tf.concat([[self.number], tf.shape(tensor)], axis=0))

    def _gather_rows(self, slices: Sequence[Any]) -> list[Any]:
        """Puts the rows of all workers one after the other, table by table.

        Two messages, whatever the number of tables: how many rows each has, and the rows, each with its id in front,
        padded to the same number on all workers.
        """
        if not slices:
            return []
        counts = tf.stack([tf.size(found.indices) for found in slices])  # [tables]
        counts = self._gather(counts)
        rooms = [_room_for(count) for count in tf.unstack(tf.reduce_max(counts, axis=0), len(slices))]
        packed = []
        for found, room in zip(slices, rooms, strict=True):
            ids = tf.bitcast(tf.cast(found.indices, tf.int64), tf.float32)  # [U, 2]
            rows = tf.concat([ids, tf.cast(found.values, tf.float32)], axis=1)
            packed.append(tf.reshape(tf.pad(rows, [[0, room - tf.shape(rows)[0]], [0, 0]]), [-1]))
        sizes = [tf.size(part) for part in packed]
        packed.append(tf.zeros([_room_for(tf.add_n(sizes)) - tf.add_n(sizes)]))
        every = self._gather(tf.concat(packed, axis=0))
        parts = tf.split(every, [*sizes, tf.size(packed[-1])], axis=1)
        result = []
        for index, (found, room) in enumerate(zip(slices, rooms, strict=True)):
            rows = tf.reshape(parts[index], (self.number, room, 2 + found.values.shape[1]))
            rows = tf.boolean_mask(rows, tf.range(room) < counts[:, index, tf.newaxis])
            ids = tf.cast(tf.bitcast(rows[:, :2], tf.int64), found.indices.dtype)
            result.append(tf.IndexedSlices(tf.cast(rows[:, 2:], found.values.dtype), ids, found.dense_shape))
        return result

    def _collective(self, operation: str, message: Any) -> Any:
        return _OPERATIONS[operation](
            input=message,
            group_size=self.number,
            group_key=_GROUP,
            # TensorFlow remembers an instance for ever, and for one shape; so what has the same shape is the same.
            instance_key=_KINDS.index(f"{operation} {message.dtype.name}") * _LARGEST + tf.size(message),
            ordering_token=[self._order.handle],
        )


ALONE = Workers()
"""The one worker of an ordinary training."""


def _room_for(count: Any) -> Any:
    """Returns the least of `_ROOMS` that holds so many."""
    return tf.gather(_ROOMS, tf.searchsorted(_ROOMS, tf.reshape(count, [1]))[0])


def _number_and_rank(config: str) -> tuple[int, int]:
    """Returns how many workers TF_CONFIG names, and which of them this is."""
    expected = (
        'Expected TF_CONFIG as {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, '
        'where "chief" may stand beside "worker". '
    )
    try:
        found = json.loads(config or "{}")
        cluster, task = found.get("cluster", {}), found.get("task", {})
        names = [(job, index) for job in ("chief", "worker") for index in range(len(cluster.get(job, [])))]
        if not names:
            return 1, 0
        return len(names), names.index((task["type"], int(task["index"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{expected}Received: {config}") from error
