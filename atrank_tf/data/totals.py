"""What went into the records, counted as it is written."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.shard_timelines import ShardTimelines
from atrank_tf.schema import UNKNOWN, Candidates, Schema


class Totals:
    """Numbers of users, behaviors and requests, over the shards added so far."""

    def __init__(self, schema: Schema, catalogs: Mapping[str, Catalog]) -> None:
        self._schema, self._catalogs = schema, catalogs
        self._users = 0
        self._behaviors = dict.fromkeys(schema.groups, 0)
        self._unknown = dict.fromkeys(schema.groups, 0)
        self._requests = {
            name: {"requests": 0, "candidates": 0, "positives": 0}
            for name, task in schema.tasks.items()
            if task.candidates is Candidates.IMPRESSIONS
        }

    def add(self, timelines: ShardTimelines) -> None:
        """Counts a shard."""
        self._users += len(timelines.users)
        for name, found in timelines.behaviors.items():
            table_rows = self._catalogs[self._schema.groups[name].entity].table_rows
            self._behaviors[name] += len(found.rows.id)
            self._unknown[name] += int((table_rows[found.rows.id] == UNKNOWN).sum())
        for name, shown in timelines.impressions.items():
            self._requests[name]["requests"] += len(np.unique(shown.rows.request))
            self._requests[name]["candidates"] += len(shown.rows.id)
            self._requests[name]["positives"] += int(shown.rows.label.sum())

    def as_dict(self) -> dict[str, Any]:
        """Returns what the manifest says; `unknown_rate` is the share of behaviors with the table's unknown row."""
        rates = {name: round(self._unknown[name] / max(1, count), 6) for name, count in self._behaviors.items()}
        return {
            "users": self._users,
            "behaviors": self._behaviors,
            "unknown_rate": rates,
            "requests": self._requests,
        }
