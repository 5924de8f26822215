"""Counts over timelines, chunk by chunk."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.targets import Behaviors, Chunk
from atrank_tf.report.bins import DAY, LATEST_DAY, NUMBERS, by_day, day_series, gap_bins
from atrank_tf.schema import UNKNOWN, Group, Schema

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the objects, the most frequent first, at which the popularity curve is told."""


class TimelineMeasures:
    """Counts over the timelines added so far.

    Args:
        schema: the schema.
        catalogs: entity -> what is known of its objects.
        now: Unix seconds; what lies later is of the future.
    """

    def __init__(self, schema: Schema, catalogs: Mapping[str, Catalog], now: int) -> None:
        self._groups = {
            name: _GroupMeasures(group, catalogs[group.entity], now) for name, group in schema.groups.items()
        }
        self._gap_bins = gap_bins(schema.time)
        self._gaps = np.zeros(len(self._gap_bins), np.int64)
        self._users = self._users_of_one_moment = 0

    def add(self, chunk: Chunk) -> None:
        """Counts the users of a chunk; its tensors are NumPy arrays."""
        for name, measures in self._groups.items():
            measures.add(chunk.groups[name])
        user = np.concatenate([rows.user for rows in chunk.groups.values()])
        timestamp = np.concatenate([rows.timestamp for rows in chunk.groups.values()])
        order = np.lexsort((timestamp, user))
        user, timestamp = user[order], timestamp[order]
        gaps = np.diff(timestamp)[user[1:] == user[:-1]]
        self._gaps += self._gap_bins.count(gaps)
        _, begins, counts = np.unique(user, return_index=True, return_counts=True)
        ends = begins + counts - 1
        self._users += len(chunk.user_id)
        self._users_of_one_moment += int(((counts > 1) & (timestamp[begins] == timestamp[ends])).sum())

    def as_dict(self) -> dict[str, Any]:
        """Returns the counts as JSON types."""
        return {
            "users": self._users,
            "users_of_one_moment": self._users_of_one_moment,
            "gaps": dict(zip(self._gap_bins.labels, self._gaps.tolist(), strict=True)),
            "groups": {name: measures.as_dict() for name, measures in self._groups.items()},
        }


class _GroupMeasures:
    def __init__(self, group: Group, catalog: Catalog, now: int) -> None:
        self._group, self._catalog, self._now = group, catalog, now
        self._by_day = np.zeros(LATEST_DAY + 1, np.int64)
        self._actions = np.zeros(len(group.actions), np.int64)
        self._per_user = np.zeros(len(NUMBERS), np.int64)
        self._by_object = np.zeros(len(catalog), np.int64)
        self._future = self._midnights = self._users_cut = 0

    def add(self, rows: Behaviors) -> None:
        lengths = np.diff(rows.splits)
        self._by_day += by_day(rows.timestamp)
        self._actions += np.bincount(rows.action, minlength=len(self._actions) + 2)[2:]
        self._per_user += NUMBERS.count(lengths)
        self._by_object += np.bincount(rows.id, minlength=len(self._by_object))
        self._future += int((rows.timestamp > self._now).sum())
        self._midnights += int((rows.timestamp % DAY == 0).sum())
        self._users_cut += int((lengths > self._group.max_length).sum())

    def as_dict(self) -> dict[str, Any]:
        behaviors = int(self._by_object.sum())
        return {
            "behaviors": behaviors,
            "objects": int((self._by_object > 0).sum()),
            "unknown": int(self._by_object[self._catalog.table_rows == UNKNOWN].sum()),
            "future": self._future,
            "midnights": self._midnights,
            "users_cut": self._users_cut,
            "max_length": self._group.max_length,
            "actions": dict(zip(self._group.actions, self._actions.tolist(), strict=True)),
            "by_day": day_series(self._by_day),
            "per_user": dict(zip(NUMBERS.labels, self._per_user.tolist(), strict=True)),
            "popularity": popularity_curve(self._by_object),
        }


def popularity_curve(by_object: np.ndarray) -> list[list[float]]:
    """Returns pairs: a share of the objects acted on, the most frequent first, and their share of the behaviors."""
    counts = np.sort(by_object[by_object > 0])[::-1]
    if not len(counts):
        return []
    covered = np.cumsum(counts) / counts.sum()
    indices = [max(1, round(share * len(counts))) for share in SHARES]
    return [[share, round(float(covered[index - 1]), 6)] for share, index in zip(SHARES, indices, strict=True)]
