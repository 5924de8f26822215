"""Measures a step of `fit` against the rows of an embedding table: `python benchmarks/tables.py`.

256 x 20 ids, uniform over the table (the worst case for sparse steps: no row is read twice soon), width 64. Prints a
table and writes build/bench_tables.json: the median time of a step in milliseconds, what it is relative to the smallest
table and to Keras' Embedding with Adam in the same run, and the seconds that applying all pending decay takes.
"""

import gc
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from atrank_tf import command
from atrank_tf.layers import SparseEmbedding
from atrank_tf.optimizers import SparseAdagrad, SparseAdam
from figures import write_figures
from measure import StepClock

_ROWS = flags.DEFINE_list("rows", ["60000", "1000000", "4000000", "10000000"], "Sizes of the table.")
_STEPS = flags.DEFINE_integer("steps", 60, "Training steps that are measured.", lower_bound=1)
_ONLY = flags.DEFINE_string("only", "", "Measure the rows of the table whose name has this in it.")
_OUT = flags.DEFINE_string("out", "build/bench_tables.json", "Where the figures are written.")

BATCH, IDS, WIDTH = 256, 20, 64
DENSE_UP_TO = 4_000_000

CASES: dict[str, tuple[type[keras.layers.Layer], Callable[[], Any]]] = {
    "Embedding, Adam": (keras.layers.Embedding, lambda: keras.optimizers.Adam()),
    "SparseEmbedding, SparseAdam": (SparseEmbedding, lambda: SparseAdam()),
    "SparseEmbedding, SparseAdagrad": (SparseEmbedding, lambda: SparseAdagrad()),
    "SparseEmbedding, SparseAdagrad, by row": (SparseEmbedding, lambda: SparseAdagrad(accumulators="row")),
    "SparseEmbedding, SparseAdam, weight_decay": (SparseEmbedding, lambda: SparseAdam(weight_decay=0.01)),
    "SparseEmbedding, SparseAdagrad, weight_decay": (SparseEmbedding, lambda: SparseAdagrad(weight_decay=0.01)),
    "SparseEmbedding, SparseAdam, l2": (SparseEmbedding, lambda: SparseAdam(l2=3e-4)),
}


def main() -> None:
    figures: list[dict[str, Any]] = []
    names = [name for name in CASES if _ONLY.value in name]
    sizes = [int(rows) for rows in _ROWS.value]
    print(f"{'milliseconds per step, rows:':46}" + "".join(f"{rows:>12,}" for rows in sizes))
    for name in names:
        print(f"{name:46}", end="", flush=True)
        for rows in sizes:
            if name.startswith("Embedding") and rows > DENSE_UP_TO:
                print(f"{'':>12}", end="")
                continue
            figures.append({"case": name, "rows": rows, **measure(*CASES[name], rows)})
            print(f"{figures[-1]['milliseconds']:>12.2f}", end="", flush=True)
            gc.collect()
        print()
    _relate(figures)
    write_figures(_OUT.value, figures)


def measure(layer: type[keras.layers.Layer], optimizer: Callable[[], Any], rows: int) -> dict[str, Any]:
    """Trains a small model on one table."""
    inputs = keras.Input((IDS,), dtype="int64")
    pooled = keras.ops.mean(layer(rows, WIDTH)(inputs), axis=1)
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    model.compile(optimizer(), keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    examples = (_STEPS.value + 10) * BATCH
    ids = rng.integers(0, rows, (examples, IDS))
    labels = rng.integers(0, 2, (examples, 1)).astype("float32")
    times = StepClock()
    data = tf.data.Dataset.from_tensor_slices((ids, labels)).batch(BATCH)
    model.fit(data, shuffle=False, callbacks=[times], verbose=0)
    steps = 1000 * np.diff(times.ends)[9:]
    thirds = [float(np.median(part)) for part in np.array_split(steps, 3)]
    result: dict[str, Any] = {"milliseconds": float(np.median(steps)), "repeats": {"milliseconds": thirds}}
    if getattr(model.layers[1].weights[0], "apply_pending", None) is not None:
        result["seconds to decay all rows"] = time.perf_counter() - times.ends[-1]  # What `fit` does last.
    return result


def _relate(figures: list[dict[str, Any]]) -> None:
    """Adds to each figure its ratio to others of the run, and prints those of the largest tables."""
    by = {(figure["case"], figure["rows"]): figure["milliseconds"] for figure in figures}
    for figure in figures:
        smallest = min(rows for case, rows in by if case == figure["case"])
        figure["relative to the smallest table"] = figure["milliseconds"] / by[figure["case"], smallest]
        dense = by.get(("Embedding, Adam", figure["rows"]))
        if dense:
            figure["times faster than Embedding with Adam"] = dense / figure["milliseconds"]
    for figure in figures:
        parts = [
            f"{key} {value:.2f}" for key, value in figure.items() if isinstance(value, float) and key != "milliseconds"
        ]
        print(f"{figure['case']}, {figure['rows']:,} rows: {'; '.join(parts)}")


if __name__ == "__main__":
    command.run(main)
