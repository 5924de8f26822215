"""Affinity: what a user did before with things like a candidate, counted over the whole history.

Each count is a search in sorted keys (user, value, time): a candidate costs the logarithm of the history, which no
`max_length` cuts. The keys of a chunk are sorted once for all requests in it.

Glossary: V behaviors of a group, W values of all of them, M requests, N candidates, A actions, F features.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Behaviors, Chunk, Targets, first_at_least
from atrank_tf.schema import FIRST_ROW, PADDING, SECONDS, Schema
from atrank_tf.schema.affinity import (
    ANY_OBJECT,
    SAME_OBJECT,
    Channel,
    affinity_ages,
    affinity_channels,
    affinity_features,
    columns_of_table,
    longest_age,
)
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS, history_name
from atrank_tf.types import Tensor

CatalogColumns = Mapping[str, Mapping[str, Tensor]]
"""Entity -> column -> rows of the column's table, int [objects] or [objects, values]; the id is a column, too."""

TargetAffinity = Callable[[Targets, Tensor], Tensor]
"""Function (M targets of a chunk, candidates int64 [M, N]) -> their features, float32 [M, N, F]."""


class Keys(NamedTuple):
    """Sorted keys of one channel. The last row of each tensor is larger than all others, and of no behavior.

    `pairs`: int64 [W + 1], user * SPAN + value. `numbers`: int64 [W + 1], the same as 0, 1, 2, ...
    `times`: int64 [W + 1], number * SPAN + timestamp. `timestamp`: int64 [W + 1].
    `until`: int32 [W + 1, A], how many of the rows before have each action.
    """

    pairs: Tensor
    numbers: Tensor
    times: Tensor
    timestamp: Tensor
    until: Tensor


class Affinity:
    """Counts what users did with things like the candidates of a task.

    For each channel (`schema.affinity`) and action, log(1 + behaviors in the last s seconds before the request), for a
    ladder of ages s and for any; and how long ago the last was, log((1 + longest) / (1 + age)), in time units and with
    `longest` twice the last boundary of the time buckets: at least 0. What never happened is 0 throughout. A behavior
    that shares several values with the candidate counts for each.

    Args:
        schema: a prepared schema.
        task: the task.
        columns: what objects are made of, as `catalog_columns` gives it.
    """

    def __init__(self, schema: Schema, task: str, columns: CatalogColumns) -> None:
        self._schema, self._columns = schema, columns
        self._entity = schema.groups[schema.tasks[task].group].entity
        self._ages = affinity_ages(schema)
        self._channels = affinity_channels(schema, task)
        self.size = len(affinity_features(schema, task))

    def keys(self, groups: Mapping[str, Behaviors]) -> list[Keys]:
        """Returns the sorted keys of histories, for each channel.

        Args:
            groups: group -> the behaviors of all users, those of each user in time order.
        """
        return [self._keys(channel, groups[channel.group]) for channel in self._channels]

    def features(self, keys: Sequence[Keys], user: Tensor, candidates: Tensor, now: Tensor) -> Tensor:
        """Returns the features of candidates.

        Args:
            keys: of the histories.
            user: int64 [M], whose history it is.
            candidates: int64 [M, N], rows of the catalog.
            now: int64 [M], Unix seconds. Only what was strictly before counts.

        Returns:
            float32 [M, N, F].
        """
        found = []
        for channel, of_channel in zip(self._channels, keys, strict=True):
            values = self._values(self._entity, channel.table, candidates)
            if channel.table == ANY_OBJECT:  # The same for all candidates.
                values = values[:, :1]
            counts = self._count(of_channel, values, user, now)
            found.append(tf.broadcast_to(counts, [*tf.unstack(tf.shape(candidates)), counts.shape[-1]]))
        return tf.ensure_shape(tf.concat(found, axis=-1), [None, None, self.size])

    def keys_of_inputs(self, inputs: Mapping[str, Tensor]) -> list[Keys]:
        """Returns `keys` of history inputs that are not cut."""
        return self.keys(history_behaviors(inputs, self._schema.groups))

    def of_chunk(self, chunk: Chunk) -> TargetAffinity:
        """Returns the features of candidates of a chunk's targets; its keys are sorted here, once."""
        keys = self.keys(chunk.groups)
        return lambda targets, candidates: self.features(keys, targets.user, candidates, targets.request_time)

    def _values(self, entity: str, table: str, ids: Tensor) -> Tensor:
        """Returns the values of a table that objects have, int64 [..., values]; below `FIRST_ROW` for none."""
        if table in (SAME_OBJECT, ANY_OBJECT):
            return (ids if table == SAME_OBJECT else tf.fill(tf.shape(ids), tf.cast(FIRST_ROW, tf.int64)))[..., None]
        found = []
        for column in columns_of_table(self._schema.entities[entity], table):
            values = tf.cast(tf.gather(self._columns[entity][column], ids), tf.int64)
            found.append(values if values.shape.rank > ids.shape.rank else values[..., tf.newaxis])
        return tf.concat(found, axis=-1)

    def _keys(self, channel: Channel, rows: Behaviors) -> Keys:
        group = self._schema.groups[channel.group]
        values = self._values(group.entity, channel.table, rows.id)
        real = tf.where(values >= FIRST_ROW)
        pairs = tf.gather(rows.user, real[:, 0]) * SPAN + tf.gather_nd(values, real)
        order = tf.argsort(pairs, stable=True)  # Behaviors of one user and value stay in time order.
        pairs = tf.concat([tf.gather(pairs, order), [tf.int64.max]], axis=0)
        behaviors = tf.gather(real[:, 0], order)
        timestamp = tf.concat([tf.gather(rows.timestamp, behaviors), [SPAN - 1]], axis=0)
        changes = tf.concat([[False], pairs[1:] != pairs[:-1]], axis=0)
        numbers = tf.cumsum(tf.cast(changes, tf.int64))
        actions = tf.one_hot(tf.gather(rows.action, behaviors) - FIRST_ROW, len(group.actions), dtype=tf.int32)
        until = tf.pad(tf.cumsum(actions), [[1, 0], [0, 0]])
        return Keys(pairs, numbers, numbers * SPAN + timestamp, timestamp, until)

    def _count(self, keys: Keys, values: Tensor, user: Tensor, now: Tensor) -> Tensor:
        """Returns the features of one channel, float32 [M, N, (ages + 1) * A + 1], given values, int64 [M, N, X]."""
        requests, candidates, _ = tf.unstack(tf.shape(values, tf.int64))
        real = tf.where(values >= FIRST_ROW)
        # Candidates of a request share many values: each is searched once.
        different, places = tf.unique(real[:, 0] * SPAN + tf.gather_nd(values, real), tf.int64)
        request, value = different // SPAN, different % SPAN
        pairs, now_of = tf.gather(user, request) * SPAN + value, tf.gather(now, request)
        start = first_at_least(keys.pairs, pairs)
        known = tf.gather(keys.pairs, start) == pairs
        first = tf.gather(keys.numbers, start) * SPAN
        # The request time, and the ladder of ages before it: at 0 begins whatever is of any age.
        times = tf.maximum(now_of[:, tf.newaxis] - tf.constant([0, *self._ages, SPAN], tf.int64), 0)
        edges = tf.reshape(first_at_least(keys.times, tf.reshape(first[:, tf.newaxis] + times, [-1])), tf.shape(times))
        until, end = tf.gather(keys.until, edges), edges[:, 0]  # [Q, 1 + ages + 1, A]
        counts = tf.reshape(until[:, :1] - until[:, 1:], [-1, (len(self._ages) + 1) * keys.until.shape[1]])
        counts = tf.where(known[:, tf.newaxis], counts, 0)
        last = tf.where(known & (end > start), tf.gather(keys.timestamp, tf.maximum(end - 1, 0)), 0)
        of_candidate = real[:, 0] * candidates + real[:, 1]
        total = requests * candidates
        counts = tf.math.unsorted_segment_sum(tf.gather(counts, places), of_candidate, total)
        last = tf.maximum(tf.math.unsorted_segment_max(tf.gather(last, places), of_candidate, total), 0)
        recency = self._recency(last, tf.repeat(now, candidates))
        found = tf.concat([tf.math.log1p(tf.cast(counts, tf.float32)), recency[:, tf.newaxis]], axis=1)
        return tf.reshape(found, [requests, candidates, found.shape[1]])

    def _recency(self, last: Tensor, now: Tensor) -> Tensor:
        """Returns how recent timestamps are, float32; 0 for a timestamp of 0."""
        unit = SECONDS[self._schema.time.unit]
        longest = np.log1p(longest_age(self._schema) / unit)
        recency = tf.cast(longest, tf.float32) - tf.math.log1p(tf.cast(now - last, tf.float32) / unit)
        return tf.where(last > 0, tf.maximum(recency, 0.0), 0.0)


def records_affinity(records: Records, task: str) -> Affinity | None:
    """Returns the affinity of a task, by the catalogs of records; None for a task without."""
    if not affinity_channels(records.schema, task):
        return None
    return Affinity(records.schema, task, catalog_columns(records.schema, records.catalogs))


def catalog_columns(schema: Schema, catalogs: Mapping[str, Catalog]) -> CatalogColumns:
    """Returns the columns of catalogs, as `Affinity` takes them."""
    return {
        name: {entity.id.column: catalogs[name].table_rows, **catalogs[name].features}
        for name, entity in schema.entities.items()
    }


def history_behaviors(inputs: Mapping[str, Tensor], groups: Iterable[str]) -> dict[str, Behaviors]:
    """Returns the behaviors of history inputs that are not cut, group -> behaviors, as `Affinity.keys` takes them."""
    return {name: unpadded(*(inputs[history_name(name, column)] for column in BEHAVIOR_COLUMNS)) for name in groups}


def unpadded(id: Tensor, action: Tensor, timestamp: Tensor) -> Behaviors:
    """Returns padded behaviors, int64 [B, T] each and in any order, as `Affinity.keys` takes them."""
    order = tf.argsort(timestamp, axis=1, stable=True)
    id, action, timestamp = (tf.gather(each, order, batch_dims=1) for each in (id, action, timestamp))
    real = tf.where(id > PADDING)
    splits = tf.pad(tf.cumsum(tf.reduce_sum(tf.cast(id > PADDING, tf.int64), axis=1)), [[1, 0]])
    return Behaviors(
        tf.gather_nd(id, real), tf.gather_nd(action, real), tf.gather_nd(timestamp, real), real[:, 0], splits
    )
