"""TensorBoard: attention images in training, and embedding tables with names for the projector."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.data import Part, Records
from atrank_tf.explanation.attention import Explainer, Explanation
from atrank_tf.explanation.names import Names
from atrank_tf.explanation.requests import Request, requests_of_users

MOST_ROWS = 10_000
"""Number of rows of a table, those of the most frequent values, in the projector, which is slow with more."""
_SIDE = 256
"""Least width of a map in an image, in pixels."""


class AttentionImages(keras.callbacks.Callback):
    """Callback that writes attention images of some requests after each epoch, and tables for the projector at the end.

    An image has a map for each semantic space, side by side, with behaviors in time order from the left; dark means a
    large weight. All maps of an image are on one scale. The model is called as in evaluation, and not changed.

    Args:
        log_dir: the folder that TensorBoard reads.
        records: the records of the training.
        users: number of users, whose requests are of validation.
    """

    def __init__(self, log_dir: str, records: Records, users: int = 4) -> None:
        super().__init__()
        self.log_dir = log_dir
        self.records = records
        self.users = users
        self._requests: list[Request] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        records = self.model.view(self.records)
        self._names = Names(records)
        self._explainer = Explainer(self.model, self._names)
        self._requests = requests_of_users(records, Part.VALIDATION, self.model.tasks, [], self.users)
        self._run = f"{self.log_dir}/explanation"
        self._writer = tf.summary.create_file_writer(self._run)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        with self._writer.as_default(step=epoch):
            for request in self._requests:
                for name, weights in _maps(self._explainer.explain_one(request)):
                    tf.summary.image(f"{request.task}/{name}/{request.user}", attention_image(weights)[np.newaxis])
        self._writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._writer.close()
        write_projector(self.model, self._names, self._run)


def attention_image(weights: np.ndarray) -> np.ndarray:
    """Draws maps side by side as an image, uint8 [height, width, 1], with a white column between two.

    Args:
        weights: float [K, Q, T].
    """
    shades = 255 - np.rint(255 * weights / weights.max(initial=1e-9)).astype(np.uint8)
    side = max(1, _SIDE // max(1, shades.shape[2]))
    large = shades.repeat(side, axis=1).repeat(side, axis=2)
    framed = np.pad(large, ((0, 0), (0, 0), (0, side)), constant_values=255)
    return np.concatenate(list(framed), axis=1)[..., np.newaxis]


def write_projector(model: Any, names: Names, log_dir: str) -> None:
    """Writes the embedding tables of a model, with the names of their rows, for TensorBoard's projector.

    Args:
        model: a `Ranker`.
        names: names of its rows.
        log_dir: the folder of a run: `<table>.tsv` and `<table>.names.tsv` for each table, and the projector's
            configuration. TensorBoard finds it beside an event file.
    """
    tf.io.gfile.makedirs(log_dir)
    config = []
    layers = {layer.name: layer for layer in model.layers}
    for table in names.schema.tables:
        if f"table_{table}" not in layers:
            continue  # Of another task's context, for one.
        rows = np.asarray(layers[f"table_{table}"].embeddings)[:MOST_ROWS]
        with tf.io.gfile.GFile(f"{log_dir}/{table}.tsv", "w") as file:
            file.write("".join("\t".join(f"{value:.5g}" for value in row) + "\n" for row in rows))
        with tf.io.gfile.GFile(f"{log_dir}/{table}.names.tsv", "w") as file:
            file.write("".join(f"{' '.join(name.split())}\n" for name in names.of_table(table, len(rows))))
        config.append(
            f'embeddings {{ tensor_name: "{table}" tensor_path: "{table}.tsv" metadata_path: "{table}.names.tsv" }}\n'
        )
    with tf.io.gfile.GFile(f"{log_dir}/projector_config.pbtxt", "w") as file:
        file.write("".join(config))


def _maps(explanation: Explanation) -> Sequence[tuple[str, np.ndarray]]:
    maps = [(f"self_attention_{block}", weights) for block, weights in enumerate(explanation.self_attention)]
    if len(explanation.target_attention):
        maps.append(("target_attention", explanation.target_attention))
    return [(name, weights) for name, weights in maps if weights.size]
