"""Writes the TFRecord files of the records, shard by shard."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.chunk_reading import USERS_PER_CHUNK
from atrank_tf.data.records import read_catalog, read_vocabulary
from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.files import file_checksum, whole_file
from atrank_tf.preparation.records_folder import shard_name
from atrank_tf.preparation.staging import Staging
from atrank_tf.preparation.timelines import ShardTimelines
from atrank_tf.report.measure import add_users, new_sums
from atrank_tf.report.sums import NonZero
from atrank_tf.schema import UNKNOWN, Schema


@dataclass(frozen=True)
class Totals:
    """Numbers of users, behaviors and requests, of a shard or of several.

    Args:
        users: users.
        behaviors: group -> behaviors.
        unknown: group -> behaviors with the table's unknown row.
        requests: task -> requests.
        candidates: task -> shown candidates.
        positives: task -> those of them with label 1.
    """

    users: int = 0
    behaviors: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    candidates: Mapping[str, int] = field(default_factory=dict)
    positives: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, timelines: ShardTimelines, schema: Schema, table_rows: Mapping[str, np.ndarray]) -> "Totals":
        """Counts a shard; `table_rows`: entity -> those of its catalog."""
        tables = {name: table_rows[group.entity] for name, group in schema.groups.items()}
        behaviors = {name: found.rows.id for name, found in timelines.behaviors.items()}
        shown = {name: found.rows for name, found in timelines.impressions.items()}
        return cls(
            users=len(timelines.users),
            behaviors={name: len(ids) for name, ids in behaviors.items()},
            unknown={name: int((tables[name][ids] == UNKNOWN).sum()) for name, ids in behaviors.items()},
            requests={name: len(np.unique(rows.request)) for name, rows in shown.items()},
            candidates={name: len(rows.id) for name, rows in shown.items()},
            positives={name: int(rows.label.sum()) for name, rows in shown.items()},
        )

    def add(self, more: "Totals") -> "Totals":
        """Returns the numbers of both."""
        return Totals(
            users=self.users + more.users,
            behaviors=_sum(self.behaviors, more.behaviors),
            unknown=_sum(self.unknown, more.unknown),
            requests=_sum(self.requests, more.requests),
            candidates=_sum(self.candidates, more.candidates),
            positives=_sum(self.positives, more.positives),
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns what the manifest says; `unknown_rate` is the share of behaviors with the table's unknown row."""
        return {
            "users": self.users,
            "behaviors": dict(self.behaviors),
            "unknown_rate": {
                name: round(self.unknown[name] / max(1, count), 6) for name, count in self.behaviors.items()
            },
            "requests": {
                name: {"requests": count, "candidates": self.candidates[name], "positives": self.positives[name]}
                for name, count in self.requests.items()
            },
        }


def _sum(some: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + count for name, count in more.items()}


@dataclass(frozen=True)
class WrittenShard:
    """What is known of a shard that was written.

    Args:
        name: its file.
        checksum: SHA-256 of that.
        totals: how many users, behaviors and requests.
        measured: what its users add to the sums of the report.
    """

    name: str
    checksum: str
    totals: Totals
    measured: NonZero


class WrittenShards:
    """What is known of all shards, which may be added in any order.

    Args:
        schema: the schema, prepared.

    Attributes:
        checksums: file -> SHA-256.
        totals: how many users, behaviors and requests.
        sums: those of the report.
    """

    def __init__(self, schema: Schema) -> None:
        self.checksums: dict[str, str] = {}
        self.totals, self.sums = Totals(), new_sums(schema)

    def add(self, shard: WrittenShard) -> None:
        """Adds a shard."""
        self.checksums[shard.name] = shard.checksum
        self.totals = self.totals.add(shard.totals)
        self.sums.add_all(shard.measured)


class ShardWriter:
    """Writes shards of the timelines, and sums what is in them.

    It holds what rows are looked up in: the ids of all catalogs with their table rows, and the vocabularies of user and
    context features.

    Args:
        staging: rows without duplicates.
        folder: the records folder; the catalogs and the vocabularies are there already.
        schema: the schema, prepared.
        now: Unix seconds when prepare began; the report counts what is later.
    """

    def __init__(self, staging: Staging, folder: Path, schema: Schema, now: int) -> None:
        self._staging, self._folder, self._schema, self._now = staging, folder, schema, now
        self._objects: dict[str, Vocabulary] = {}
        self._table_rows: dict[str, np.ndarray] = {}
        for name in schema.entities:
            catalog = read_catalog(str(folder), name)
            self._objects[name], self._table_rows[name] = Vocabulary(pl.Series(catalog.ids)), catalog.table_rows
        sides = (schema.user, *(task.context for task in schema.tasks.values()))
        tables = {feature.table for side in sides for feature in side.features.values()}
        self._vocabularies = {name: Vocabulary(pl.Series(read_vocabulary(str(folder), name))) for name in tables}

    def write(self, shard: int) -> WrittenShard:
        """Writes the file of one shard, whole or not at all."""
        timelines = ShardTimelines(self._staging, shard, self._schema, self._objects, self._vocabularies)
        name, sums = shard_name(shard, self._staging.shards), new_sums(self._schema)
        with whole_file(self._folder / name, concurrent=True) as partial:
            with tf.io.TFRecordWriter(partial) as writer:
                examples = iter(timelines)
                while some := list(islice(examples, USERS_PER_CHUNK)):
                    serialized = [example.SerializeToString(deterministic=True) for example in some]
                    for timeline in serialized:
                        writer.write(timeline)
                    add_users(sums, serialized, self._schema, self._now)
            checksum = file_checksum(partial)
        totals = Totals.of(timelines, self._schema, self._table_rows)
        return WrittenShard(name, checksum, totals, sums.non_zero())
