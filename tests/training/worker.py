"""One of several workers, for `test_workers.py`: `python worker.py FOLDER` with TF_CONFIG trains small models.

Every worker takes its rows of the same batches; FOLDER/<index>.npz then holds what each of them has.
"""

import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.layers import SparseEmbedding
from atrank_tf.training import (
    PairwiseCrossentropy,
    PointwiseCrossentropy,
    RequestAUC,
    SettleTables,
    SparseAdagrad,
    SparseAdam,
    Workers,
)
from atrank_tf.training.follow_chief import FollowChief
from atrank_tf.training.global_metrics import GlobalMetrics

CASES: dict[str, Any] = {
    "adam, l2": lambda **k: SparseAdam(0.02, l2=1e-3, global_clipnorm=0.5, **k),
    "adam, decay": lambda **k: SparseAdam(0.02, weight_decay=0.05, **k),
    "adagrad": lambda **k: SparseAdagrad(0.05, accumulators="row", weight_decay=0.05, **k),
}
LOSSES = {"adam, l2": PointwiseCrossentropy, "adam, decay": PairwiseCrossentropy, "adagrad": PointwiseCrossentropy}
ROWS, STEPS, EPOCHS = 7, 5, 3


def batches(workers: Workers, seed: int) -> Any:
    """This worker's rows of `STEPS` batches of 7 requests, of which some have fewer candidates than others."""
    rng = np.random.default_rng(seed)
    shape = (STEPS, ROWS, 5)
    history, candidates = rng.integers(0, 40, (STEPS, ROWS, 3)), rng.integers(0, 40, shape)
    labels, weights = rng.random(shape) < 0.4, rng.random(shape) < 0.6
    arrays = ((history, candidates), labels.astype("float32"), weights.astype("float32"))
    mine = tf.nest.map_structure(lambda array: array[:, workers.index :: workers.number], arrays)
    return tf.data.Dataset.from_tensor_slices(mine)


def run(name: str, workers: Workers) -> dict[str, Any]:
    """Trains one case; returns its history, and its variables at the end of the last epoch."""
    keras.utils.set_random_seed(1)
    items, bias = SparseEmbedding(40, 6, name="items"), SparseEmbedding(40, 1, name="bias")
    history, candidates = keras.Input((3,), dtype="int64"), keras.Input((5,), dtype="int64")
    user = keras.layers.Dense(6)(keras.ops.mean(items(history), axis=1))
    logits = keras.ops.einsum("bd,bnd->bn", user, items(candidates)) + bias(candidates)[..., 0]
    model = keras.Model((history, candidates), logits)
    model.compile(CASES[name](workers=workers), LOSSES[name](workers=workers), weighted_metrics=[RequestAUC()])
    before = Before()
    found = model.fit(
        batches(workers, 1).repeat(),
        steps_per_epoch=STEPS,
        epochs=EPOCHS,
        validation_data=batches(workers, 2).take(STEPS - workers.index),
        callbacks=[SettleTables(), GlobalMetrics(workers), before, FollowChief(workers)],
        verbose=0,
    )
    return found.history | {"before": before.values} | {v.path: v.numpy() for v in [*model.variables, *model.optimizer.variables]}


class Before(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights as they are before all workers follow the chief."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.values = np.concatenate([weight.numpy().ravel() for weight in self.model.weights])


if __name__ == "__main__":
    found = Workers.join()
    result = {f"{case}: {key}": value for case in CASES for key, value in run(case, found).items()}
    np.savez(f"{sys.argv[1]}/{found.index}.npz", **result)
