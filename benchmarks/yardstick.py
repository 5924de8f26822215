"""The yardstick: ATRank written with the layers of Keras, one row per (history, candidate).

It does the work of `experiments/amazon_sports.toml`: the same tables, sizes of layers, blocks, heads, dropout, L2
penalty and negatives. It differs in how: `Embedding`, `MultiHeadAttention`, a history repeated for each of its
candidates and padded to the longest in its batch, rows in random order, and Adam on all rows of every table.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from atrank_tf.data import Records, TrainingBatches, training_batches
from atrank_tf.experiment import ATRankConfig, Experiment
from atrank_tf.schema import FIRST_ROW, PADDING
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS, candidates_name, history_name

BATCH_SIZE = 128
"""Rows in a batch."""


def yardstick_model(records: Records, experiment: Experiment) -> Any:
    """Returns the compiled model. Inputs as `yardstick_batches` gives them; output: logits [B, 1]."""
    schema, config = records.schema, experiment.model
    if not isinstance(config, ATRankConfig):
        raise ValueError(f"Expected an experiment of the model atrank. Received: {experiment.name}.")
    (name, group), *_ = schema.groups.items()
    entity = schema.entities[group.entity]
    penalty = keras.regularizers.L2(experiment.training.l2)
    tables = {
        table: layers.Embedding(spec.rows, spec.dim, embeddings_regularizer=penalty)
        for table, spec in schema.tables.items()
    }

    def code(objects: Mapping[str, Any]) -> Any:
        parts = [tables[entity.id.table](objects["id"])]
        for column, feature in entity.features.items():
            embedded = tables[feature.table](objects[column])
            if feature.max_values > 1:
                real = ops.cast(objects[column] > 0, "float32")[..., None]
                embedded = ops.sum(embedded * real, axis=-2) / ops.maximum(ops.sum(real, axis=-2), 1.0)
            parts.append(embedded)
        return layers.Concatenate()(parts)

    def inputs(prefix: str, length: int | None) -> dict[str, Any]:
        many = {column: (feature.max_values,) for column, feature in entity.features.items() if feature.max_values > 1}
        return {
            column: keras.Input((length, *many.get(column, ())), dtype="int64", name=f"{prefix}_{column}")
            for column in ("id", *entity.features)
        }

    history, candidate = inputs("history", None), inputs("candidate", 1)
    action = keras.Input((None,), dtype="int64", name="action")
    bucket = keras.Input((None,), dtype="int64", name="bucket")
    width = sum(spec.dim for spec in schema.tables.values())
    projection, drop = layers.Dense(config.hidden_dim), layers.Dropout(config.dropout)

    def feed_forward(state: Any) -> Any:
        inner = layers.Dense(config.intermediate_dim, activation="relu")(state)
        outer = drop(layers.Dense(config.hidden_dim)(inner))
        return layers.LayerNormalization()(layers.Add()([state, outer]))

    def attention() -> Any:
        return layers.MultiHeadAttention(config.num_spaces, config.hidden_dim // config.num_spaces)

    behaviors = layers.Add()(
        [
            code(history),
            layers.Embedding(FIRST_ROW + len(group.actions), width)(action),
            layers.Embedding(schema.time.buckets, width)(bucket),
        ]
    )
    memory = drop(projection(behaviors))
    mask = history["id"] > 0
    for _ in range(config.num_blocks):
        related = drop(attention()(memory, memory, attention_mask=mask[:, None, :]))
        memory = feed_forward(layers.LayerNormalization()(layers.Add()([memory, related])))
    target = drop(projection(code(candidate)))
    read = feed_forward(attention()(target, memory, attention_mask=mask[:, None, :]))
    state = layers.Concatenate()([read, target, layers.Multiply()([read, target])])
    for size in config.hidden_units:
        state = drop(layers.Dense(size, activation="relu")(state))
    parts = [
        layers.Dense(1)(state),
        layers.Dot(axes=-1)([read, target]) / config.hidden_dim**0.5,
        layers.Embedding(schema.tables[entity.id.table].rows, 1, "zeros")(candidate["id"]),
    ]
    logits = layers.Flatten()(layers.Add()(parts))
    every = [*history.values(), *candidate.values(), action, bucket]
    model = keras.Model({tensor.name: tensor for tensor in every}, logits, name=f"yardstick_{name}")
    model.compile(
        optimizer=keras.optimizers.Adam(
            experiment.training.learning_rate, global_clipnorm=experiment.training.clip_norm or None
        ),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


def yardstick_batches(records: Records, experiment: Experiment, batch_size: int = BATCH_SIZE) -> TrainingBatches:
    """Returns endless (inputs, labels [B, 1]): one epoch's targets and negatives of `training_batches`, candidate by
    candidate in random order.

    The epoch is in memory, and the features of objects are joined here, so that the yardstick never waits for its data.
    """
    group, *_ = records.schema.groups.values()
    entity, catalog = records.schema.entities[group.entity], records.catalogs[group.entity]
    columns = {"id": catalog.table_rows}
    for column, feature in entity.features.items():
        values = catalog.features[column]
        values = np.pad(values, ((0, 0), (0, feature.max_values - values.shape[1])))
        columns[column] = values if feature.max_values > 1 else values[:, 0]
    epoch = _read_epoch(records, experiment)
    ends = np.cumsum(epoch["lengths"])
    boundaries = np.array(records.schema.time.boundaries)
    candidates = epoch["candidates"].shape[1]
    order = np.random.default_rng(experiment.training.seed).permutation(epoch["candidates"].size)

    def objects(prefix: str, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {f"{prefix}_{column}": values[rows].astype(np.int64) for column, values in columns.items()}

    def batch(rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        targets, places = np.divmod(rows, candidates)
        lengths = epoch["lengths"][targets]
        positions = np.arange(lengths.max())
        real = positions < lengths[:, None]
        flat = np.where(real, (ends[targets] - lengths)[:, None] + positions, 0)
        gap = epoch["now"][targets][:, None] - epoch["timestamp"][flat]
        inputs = objects("history", np.where(real, epoch["id"][flat], PADDING))
        inputs |= {
            "action": np.where(real, epoch["action"][flat], PADDING),
            "bucket": np.searchsorted(boundaries, gap, side="right"),
            **objects("candidate", epoch["candidates"][targets, places][:, None]),
        }
        return inputs, epoch["labels"][targets, places][:, None]

    def every_batch() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        while True:
            for start in range(0, order.size - batch_size + 1, batch_size):
                yield batch(order[start : start + batch_size])

    inputs, labels = next(every_batch())
    signature = (
        {key: tf.TensorSpec([None] * 2 + list(value.shape[2:]), tf.int64) for key, value in inputs.items()},
        tf.TensorSpec([None, *labels.shape[1:]], tf.float32),
    )
    dataset = tf.data.Dataset.from_generator(every_batch, output_signature=signature)
    return TrainingBatches(lambda _: dataset.prefetch(tf.data.AUTOTUNE), order.size // batch_size)


def _read_epoch(records: Records, experiment: Experiment) -> dict[str, np.ndarray]:
    """Returns an epoch: candidates and labels [M, N], now and lengths [M], and the histories one after another."""
    (name, _), *_ = records.schema.groups.items()
    (task, _), *_ = records.schema.tasks.items()
    batches = training_batches(records, settings=experiment.batching, seed=experiment.training.seed)
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for inputs, labels, _ in batches.dataset.take(batches.steps).as_numpy_iterator():
        real = inputs[history_name(name, "id")] > PADDING
        for column in BEHAVIOR_COLUMNS:
            found[column].append(inputs[history_name(name, column)][real])
        found["lengths"].append(real.sum(axis=1))
        found["now"].append(inputs["now"])
        found["candidates"].append(inputs[candidates_name(task)])
        found["labels"].append(labels[task])
    return {column: np.concatenate(parts) for column, parts in found.items()}
