"""Measures a step of several workers on one large table, by optimizer: `python benchmarks/workers.py`.

Each worker is a process of this machine and reads 256 x 20 ids in a step, uniform over the table. Prints, for the chief
and another worker, the median time of a step in milliseconds, and the memory of the process in MiB: in training, and at
its highest before that. Workers share the processors, so times of 2 on 2 cores say more than those of 8.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from atrank_tf import command
from atrank_tf.layers import SparseEmbedding
from atrank_tf.optimizers import SparseAdagrad, SparseAdam
from atrank_tf.training import Workers
from measure import fit_seconds
from process_memory import memory_now, peak_memory

_ROWS = flags.DEFINE_integer("rows", 4_000_000, "Rows of the table.")
_WIDTH = flags.DEFINE_integer("width", 32, "Width of the table.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes.", lower_bound=2)
_STEPS = flags.DEFINE_integer("steps", 40, "Training steps that are measured.", lower_bound=1)
_CASE = flags.DEFINE_string("case", "", "For the processes that this one starts.")

BATCH, IDS = 256, 20
OPTIMIZERS: dict[str, Callable[[Workers], Any]] = {
    "SparseAdam, l2": lambda workers: SparseAdam(l2=3e-4, reduce_gradients=workers.mean_gradients),
    "SparseAdagrad, by row": lambda workers: SparseAdagrad(accumulators="row", reduce_gradients=workers.mean_gradients),
}

_workers: Any = None


def _meet() -> None:
    global _workers
    _workers = Workers.join()


def main() -> None:
    if _CASE.value:
        print(json.dumps(measure(_CASE.value)))
        return
    print(f"{'':24}{'worker':>8}{'ms a step':>12}{'MiB':>8}{'highest':>10}")
    for name in OPTIMIZERS:
        for index, found in enumerate(_run(name)[:2]):
            print(f"{name:24}{index:>8}{found['ms']:>12.1f}{found['now']:>8.0f}{found['highest']:>10.0f}")


def measure(name: str) -> dict[str, float]:
    """Trains a small model on one table."""
    rows = _ROWS.value
    inputs = keras.Input((IDS,), dtype="int64")
    pooled = keras.ops.mean(SparseEmbedding(rows, _WIDTH.value)(inputs), axis=1)
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    model.compile(OPTIMIZERS[name](_workers), keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(_workers.rank)
    first, steps = 10, _STEPS.value
    ids = rng.integers(0, rows, ((first + steps) * BATCH, IDS))
    labels = rng.integers(0, 2, (len(ids), 1)).astype("float32")
    seconds = fit_seconds(model, tf.data.Dataset.from_tensor_slices((ids, labels)).batch(BATCH), first, steps)
    memory = {"now": memory_now(), "highest": peak_memory()}
    _workers.broadcast(lambda: 0)  # Who leaves earlier passes for dead.
    return {"ms": 1000 * float(np.median(seconds)), **memory}


def _run(case: str) -> list[dict[str, float]]:
    """Returns the measurements of each worker."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(_WORKERS.value)]
    addresses = [f"127.0.0.1:{found.getsockname()[1]}" for found in sockets]
    for found in sockets:
        found.close()
    arguments = [f"--{flag.name}={flag.value}" for flag in (_ROWS, _WIDTH, _WORKERS, _STEPS)]
    processes = []
    for index in range(_WORKERS.value):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        command_line = [sys.executable, __file__, *arguments, f"--case={case}"]
        environment = os.environ | {"TF_CONFIG": json.dumps(config)}
        processes.append(subprocess.Popen(command_line, env=environment, stdout=subprocess.PIPE, text=True))
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]


if __name__ == "__main__":
    command.run(main, before_devices=_meet)
