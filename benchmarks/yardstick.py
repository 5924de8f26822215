"""The yardstick: ATRank as one writes it with what Keras has, one row per (history, candidate).

The same work as `experiments/amazon_sports.toml`: the same tables, widths, spaces, blocks, feed-forward, ranking
networks, dropout, penalty and negatives. What differs is the manner: `Embedding`, `MultiHeadAttention`, implicit
shapes, a history repeated for each of its candidates and padded to the longest in its batch, rows in random order,
the whole of every table updated by Adam.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from atrank_tf.data import Records, TrainingBatches, training_batches
from atrank_tf.models import ATRankConfig
from atrank_tf.schema import FIRST_ROW
from atrank_tf.training import Experiment

BATCH_SIZE = 128
"""Rows in a batch; 32 and 512 were not faster."""
_SHUFFLED_TARGETS = 16_384


def yardstick_model(records: Records, experiment: Experiment) -> Any:
    """Returns the compiled model. Inputs as `yardstick_batches` gives them; output: logits [B, 1]."""
    schema, config = records.schema, experiment.model
    if not isinstance(config, ATRankConfig):
        raise ValueError(f"Expected an experiment of the model atrank. Received: {experiment.name}.")
    (name, group), *_ = schema.groups.items()
    entity = schema.entities[group.entity]
    penalty = keras.regularizers.L2(config.l2)
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
    projection, drop = layers.Dense(config.width), layers.Dropout(config.dropout)

    def feed_forward(state: Any) -> Any:
        inner = layers.Dense(config.feed_forward, activation="relu")(state)
        outer = drop(layers.Dense(config.width)(inner))
        return layers.LayerNormalization()(layers.Add()([state, outer]))

    def attention() -> Any:
        return layers.MultiHeadAttention(config.spaces, config.width // config.spaces)

    behaviors = layers.Add()(
        [
            code(history),
            layers.Embedding(FIRST_ROW + len(group.actions), width)(action),
            layers.Embedding(schema.time.buckets, width)(bucket),
        ]
    )
    memory = drop(projection(behaviors))
    mask = history["id"] > 0
    for _ in range(config.blocks):
        related = drop(attention()(memory, memory, attention_mask=mask[:, None, :]))
        memory = feed_forward(layers.LayerNormalization()(layers.Add()([memory, related])))
    target = drop(projection(code(candidate)))
    read = feed_forward(attention()(target, memory, attention_mask=mask[:, None, :]))
    state = layers.Concatenate()([read, target, layers.Multiply()([read, target])])
    for size in config.hidden:
        state = drop(layers.Dense(size, activation="relu")(state))
    parts = [
        layers.Dense(1)(state),
        layers.Dot(axes=-1)([read, target]) / config.width**0.5,
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
    """Returns endless (inputs, labels [B, 1]): the targets and negatives of `training_batches`, candidate by candidate.

    The features of objects are joined here, as logs of impressions would have them.
    """
    schema = records.schema
    (name, group), *_ = schema.groups.items()
    (task, _), *_ = schema.tasks.items()
    entity, catalog = schema.entities[group.entity], records.catalogs[group.entity]
    columns = {"id": catalog.table_rows}
    for column, feature in entity.features.items():
        values = catalog.features[column]
        values = np.pad(values, ((0, 0), (0, feature.max_values - values.shape[1])))
        columns[column] = values if feature.max_values > 1 else values[:, 0]
    tensors = {column: tf.constant(values, tf.int64) for column, values in columns.items()}
    boundaries = tf.constant(schema.time.boundaries, tf.int64)

    def objects(prefix: str, rows: Any) -> dict[str, Any]:
        return {f"{prefix}_{column}": tf.gather(values, rows) for column, values in tensors.items()}

    def one_target(inputs: Any, labels: Any, _: Any) -> Any:
        real = tf.where(inputs[f"{name}_id"] > 0)[:, 0]
        ids, actions, moments = (tf.gather(inputs[f"{name}_{key}"], real) for key in ("id", "action", "timestamp"))
        history = objects("history", ids) | {
            "action": actions,
            "bucket": tf.searchsorted(boundaries, inputs["now"] - moments, side="right", out_type=tf.int64),
        }
        candidates = tf.data.Dataset.from_tensor_slices((inputs[f"{task}_candidates"], labels[task]))
        return candidates.map(lambda row, label: (history | objects("candidate", row[None]), label[None]))

    batches = training_batches(records, settings=experiment.batching, seed=experiment.training.seed)
    targets = batches.dataset.unbatch().shuffle(_SHUFFLED_TARGETS, seed=experiment.training.seed)
    rows = targets.interleave(one_target, cycle_length=64, num_parallel_calls=1).padded_batch(batch_size)
    candidates_per_epoch = batches.steps * experiment.batching.batch_size * (1 + experiment.batching.negatives)
    return TrainingBatches(rows.prefetch(tf.data.AUTOTUNE), candidates_per_epoch // batch_size)
