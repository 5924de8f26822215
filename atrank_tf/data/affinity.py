"""Affinity: what a user did before with things like a candidate, counted over the whole history.

Each count is a search in sorted keys (user, value, time): a candidate costs the logarithm of the history, which no
`max_length` cuts. The keys of a chunk are sorted once for all requests in it.

Glossary: V behaviors of a group, W values of all of them, M requests, N candidates, A actions, F features.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Behaviors, CandidateFunction, Chunk, first_at_least
from atrank_tf.schema import FIRST_ROW, PADDING, SECONDS, Schema
from atrank_tf.schema.affinity import (
    ANY_OBJECT,
    SAME_OBJECT,
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


class Keys(NamedTuple):
    """Sorted keys of all channels. The last row of each tensor is larger than all others, and of no behavior.

    A value of a channel is one number: channel * SPAN + row of the channel's table.

    `pairs`: int64 [W + 1], user * channels * SPAN + value. `numbers`: int64 [W + 1], the same as 0, 1, 2, ...
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
        self._entity = schema.entity_of(task)
        self._channels = affinity_channels(schema, task)
        self._ages = affinity_ages(schema)
        self._actions = max((len(schema.groups[channel.group].actions) for channel in self._channels), default=0)
        self._size = len(affinity_features(schema, task))

    def keys(self, groups: Mapping[str, Behaviors]) -> Keys:
        """Returns the sorted keys of histories.

        Args:
            groups: group -> the behaviors of all users, those of each user in time order.
        """
        pairs, timestamps, actions = [], [], []
        for number, channel in enumerate(self._channels):
            rows = groups[channel.group]
            values = self._values(channel.table, self._schema.groups[channel.group].entity, rows.id)
            known = tf.where(values >= FIRST_ROW)
            behavior, _ = tf.unstack(known, axis=1)
            pairs.append(self._of_user(tf.gather(rows.user, behavior), number * SPAN + tf.gather_nd(values, known)))
            timestamps.append(_possible(tf.gather(rows.timestamp, behavior)))
            actions.append(tf.gather(rows.action, behavior))
        unsorted = tf.concat(pairs, axis=0)
        order = tf.argsort(unsorted, stable=True)  # Behaviors of one user and value stay in time order.
        ascending = tf.concat([tf.gather(unsorted, order), [tf.int64.max]], axis=0)
        timestamp = tf.concat([tf.gather(tf.concat(timestamps, axis=0), order), [SPAN - 1]], axis=0)
        changes = tf.concat([[False], ascending[1:] != ascending[:-1]], axis=0)
        numbers = tf.cumsum(tf.cast(changes, tf.int64))
        action = tf.gather(tf.concat(actions, axis=0), order) - FIRST_ROW
        until = tf.pad(tf.cumsum(tf.one_hot(action, self._actions, dtype=tf.int32)), [[1, 0], [0, 0]])
        return Keys(ascending, numbers, numbers * SPAN + timestamp, timestamp, until)

    def features(self, keys: Keys, user: Tensor, candidates: Tensor, now: Tensor) -> Tensor:
        """Returns the features of candidates.

        Args:
            keys: of the histories.
            user: int64 [M], whose history it is.
            candidates: int64 [M, N], rows of the catalog.
            now: int64 [M], Unix seconds. Only what was strictly before counts.

        Returns:
            float32 [M, N, F].
        """
        channels, now = len(self._channels), _possible(now)
        tables = dict.fromkeys(channel.table for channel in self._channels)
        of_table = {table: self._values(table, self._entity, candidates) for table in tables}
        of_channels = [of_table[channel.table] for channel in self._channels]
        channel_of_place = np.repeat(np.arange(channels), [each.shape[-1] for each in of_channels])
        values = tf.concat(of_channels, axis=-1)
        asked = tf.where(values >= FIRST_ROW)
        request, candidate, place = tf.unstack(asked, axis=1)  # Int64 [Q] each.
        channel = tf.gather(channel_of_place, place)
        pairs = self._of_user(tf.gather(user, request), channel * SPAN + tf.gather_nd(values, asked))
        start = first_at_least(keys.pairs, pairs)
        found = tf.squeeze(tf.where(tf.gather(keys.pairs, start) == pairs), 1)  # Most are in no history.
        # Candidates of a request share many values, each of which is counted once.
        size = tf.size(keys.pairs, tf.int64)
        different, places = tf.unique(tf.gather(request * size + start, found), tf.int64)
        counts, last = self._search(keys, different % size, tf.gather(now, different // size))
        requests, width = tf.unstack(tf.shape(candidates, tf.int64))
        # Ascending; a candidate that has several known values of a channel has one row for all of them.
        row = tf.gather((request * width + candidate) * channels + channel, found)
        begins = tf.concat([row[:1] >= 0, row[1:] != row[:-1]], axis=0)
        of_row = tf.cumsum(tf.cast(begins, tf.int64)) - 1
        row = tf.boolean_mask(row, begins)
        counts = tf.math.segment_sum(tf.gather(counts, places), of_row)
        last = tf.math.segment_max(tf.gather(last, places), of_row)
        recency = self._recency(last, tf.gather(now, row // (width * channels)))
        of_groups = self._of_groups(row, counts, recency, requests * width)
        return tf.reshape(tf.concat(of_groups, axis=1), [requests, width, self._size])

    def keys_of_inputs(self, inputs: Mapping[str, Tensor]) -> Keys:
        """Returns `keys` of history inputs that are not cut."""
        return self.keys(history_behaviors(inputs, self._schema.groups))

    def of_chunk(self, chunk: Chunk) -> CandidateFunction:
        """Returns the features of candidates of a chunk's targets; its keys are sorted here, once."""
        keys = self.keys(chunk.groups)
        return lambda targets, candidates: self.features(keys, targets.user, candidates, targets.request_time)

    def _values(self, table: str, entity: str, ids: Tensor) -> Tensor:
        """Returns the rows of a channel's table that objects have, int64 [..., values]; none below `FIRST_ROW`."""
        if table == ANY_OBJECT:
            return tf.expand_dims(tf.zeros_like(ids) + FIRST_ROW, -1)
        if table == SAME_OBJECT:
            return tf.expand_dims(ids, -1)
        rows = []
        for column in columns_of_table(self._schema.entities[entity], table):
            found = tf.cast(tf.gather(self._columns[entity][column], ids), tf.int64)
            rows.append(found if found.shape.rank > ids.shape.rank else tf.expand_dims(found, -1))
        return tf.concat(rows, axis=-1) if len(rows) > 1 else rows[0]

    def _of_user(self, user: Tensor, values: Tensor) -> Tensor:
        """Returns user and value as one number."""
        return user * (len(self._channels) * SPAN) + values

    def _search(self, keys: Keys, start: Tensor, now: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what was done with K pairs of user and value, by their first rows and the request times, int64 [K].

        Returns:
            How often in each age and with each action, int32 [K, ages + 1, A]; and when last, int64 [K], 0 for never.
        """
        first = tf.gather(keys.numbers, start) * SPAN
        # The request time, and the ladder of ages before it; what is of any age begins with the pair.
        times = tf.maximum(now[:, tf.newaxis] - tf.constant([0, *self._ages], tf.int64), 0)
        edges = tf.reshape(first_at_least(keys.times, tf.reshape(first[:, tf.newaxis] + times, [-1])), tf.shape(times))
        until, end = tf.gather(keys.until, tf.concat([edges, start[:, tf.newaxis]], axis=1)), edges[:, 0]
        return until[:, :1] - until[:, 1:], tf.where(end > start, tf.gather(keys.timestamp, tf.maximum(end - 1, 0)), 0)

    def _recency(self, last: Tensor, now: Tensor) -> Tensor:
        """Returns how recent timestamps are, float32; 0 for a timestamp of 0."""
        unit = SECONDS[self._schema.time.unit]
        longest = np.log1p(longest_age(self._schema) / unit)
        recency = tf.cast(longest, tf.float32) - _log1p((now - last) / unit)
        return tf.where(last > 0, tf.maximum(recency, 0.0), 0.0)

    def _of_groups(self, row: Tensor, counts: Tensor, recency: Tensor, candidates: Tensor) -> list[Tensor]:
        """Returns the features of each group, float32 [candidates, F_g]; those of R rows are known, all others 0.

        Side by side they are those of `affinity_features`, in its order.

        Args:
            row: int64 [R], candidate * channels + channel.
            counts: int32 [R, ages + 1, A].
            recency: float32 [R].
            candidates: how many there are.
        """
        channels, found, end = len(self._channels), [], 0
        for group, of_group in itertools.groupby(channel.group for channel in self._channels):
            begin, end = end, end + len(list(of_group))
            actions = len(self._schema.groups[group].actions)
            place = row % channels
            own = tf.squeeze(tf.where((place >= begin) & (place < end)), 1)
            size = (len(self._ages) + 1) * actions
            of_own = tf.reshape(tf.gather(counts[:, :, :actions], own), [-1, size])
            numbers = tf.concat([_log1p(of_own), tf.expand_dims(tf.gather(recency, own), 1)], axis=1)
            row_of_group = tf.gather(row // channels * (end - begin) + place - begin, own)
            rows = candidates * (end - begin)
            dense = tf.scatter_nd(tf.expand_dims(row_of_group, 1), numbers, [rows, size + 1])
            found.append(tf.reshape(dense, [candidates, (end - begin) * (size + 1)]))
        return found


def _log1p(values: Tensor) -> Tensor:
    """Returns log(1 + x), float32; by way of float64, so that the last bit does not depend on the place in a batch."""
    return tf.cast(tf.math.log1p(tf.cast(values, tf.float64)), tf.float32)


def _possible(timestamp: Tensor) -> Tensor:
    """Returns timestamps that a key has room for: a request may hold any number."""
    return tf.clip_by_value(timestamp, 0, SPAN - 1)


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
