"""Writes the TFRecord files of the records, shard by shard."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.chunk_reading import USERS_PER_CHUNK
from atrank_tf.data.codes import Codes
from atrank_tf.data.records import read_catalog, read_vocabulary
from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.files import file_checksum, whole_file
from atrank_tf.preparation.records_folder import shard_name
from atrank_tf.preparation.staging import Staging
from atrank_tf.preparation.standing import Standing, user_of
from atrank_tf.preparation.timelines import ShardTimelines, extended
from atrank_tf.report.measure import add_users, new_sums
from atrank_tf.report.sums import NonZero, Sums
from atrank_tf.schema import UNKNOWN, Schema


@dataclass(frozen=True)
class Totals:
    """Numbers of users, behaviors and requests, of a shard or of several.

    Args:
        users: users.
        behaviors: group -> behaviors.
        requests: task -> requests.
        candidates: task -> shown candidates.
        positives: task -> those of them with label 1.
    """

    users: int = 0
    behaviors: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    candidates: Mapping[str, int] = field(default_factory=dict)
    positives: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, timelines: ShardTimelines, users: int) -> "Totals":
        """Counts a shard, of whose users so many are new."""
        shown = {name: found.rows for name, found in timelines.impressions.items()}
        return cls(
            users=users,
            behaviors={name: len(found.user) for name, found in timelines.behaviors.items()},
            requests={name: len(np.unique(rows.request)) for name, rows in shown.items()},
            candidates={name: len(rows.id) for name, rows in shown.items()},
            positives={name: int(rows.label.sum()) for name, rows in shown.items()},
        )

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> "Totals":
        """Returns what `as_dict` gave a manifest."""
        requests = manifest["requests"].items()
        kinds = ("requests", "candidates", "positives")
        of_tasks = {kind: {name: found[kind] for name, found in requests} for kind in kinds}
        return cls(users=manifest["users"], behaviors=manifest["behaviors"], **of_tasks)

    def add(self, more: "Totals") -> "Totals":
        """Returns the numbers of both."""
        return Totals(
            users=self.users + more.users,
            behaviors=_sum(self.behaviors, more.behaviors),
            requests=_sum(self.requests, more.requests),
            candidates=_sum(self.candidates, more.candidates),
            positives=_sum(self.positives, more.positives),
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns what the manifest says."""
        return {
            "users": self.users,
            "behaviors": dict(self.behaviors),
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
        before: records to whose timelines these were added; None for none.

    Attributes:
        checksums: file -> SHA-256.
        totals: how many users, behaviors and requests.
        sums: those of the report.
    """

    def __init__(self, schema: Schema, before: Standing | None) -> None:
        self.checksums: dict[str, str] = {}
        self.totals = Totals.of_manifest(before.manifest) if before else Totals()
        self.sums = before.sums(schema) if before and before.same_parts else new_sums(schema)

    def add(self, shard: WrittenShard) -> None:
        """Adds a shard."""
        self.checksums[shard.name] = shard.checksum
        self.totals = self.totals.add(shard.totals)
        self.sums.add_all(shard.measured)

    def unknown_rates(self, schema: Schema, catalogs: Mapping[str, Catalog]) -> dict[str, float]:
        """Returns group -> share of the behaviors with the unknown row of the id's table."""
        rates = {}
        for name, group in schema.groups.items():
            by_object = self.sums[f"group {name} by_object"]
            unknown = by_object[catalogs[group.entity].table_rows == UNKNOWN]
            rates[name] = round(int(unknown.sum()) / max(1, int(by_object.sum())), 6)
        return rates


class _Written(NamedTuple):
    """A timeline as it is now, and as it was: the same bytes where nothing was added, None of a new user."""

    now: bytes
    before: bytes | None


class ShardWriter:
    """Writes shards of the timelines, and sums what is in them.

    It holds what rows are looked up in: the ids of all catalogs, and the vocabularies of user and context features.

    Args:
        staging: rows without duplicates.
        folder: the records folder; the catalogs and the vocabularies are there already.
        schema: the schema, prepared.
        now: Unix seconds when prepare began; the report counts what is later.
        before: records to whose timelines these are added; None for none.
    """

    def __init__(self, staging: Staging, folder: Path, schema: Schema, now: int, before: Standing | None) -> None:
        self._staging, self._folder, self._schema, self._now, self._before = staging, folder, schema, now, before
        self._objects = {name: Vocabulary(pl.Series(read_catalog(str(folder), name).ids)) for name in schema.entities}
        sides = (schema.user, *(task.context for task in schema.tasks.values()))
        tables = {feature.table: schema.tables[feature.table] for side in sides for feature in side.features.values()}
        self._vocabularies = {
            name: Codes(table.rows) if table.coded else Vocabulary(pl.Series(read_vocabulary(str(folder), name)))
            for name, table in tables.items()
        }

    def write(self, shard: int) -> WrittenShard:
        """Writes the file of one shard, whole or not at all."""
        known = partial(self._before.users, shard) if self._before else None
        timelines = ShardTimelines(self._staging, shard, self._schema, self._objects, self._vocabularies, known)
        name, sums, new_users = shard_name(shard, self._staging.shards), new_sums(self._schema), 0
        if self._before and not len(timelines.users):
            checksum = self._before.link(shard, self._folder)
            found = iter(()) if self._before.same_parts else self._before.timelines(shard)
            while some := list(islice(found, USERS_PER_CHUNK)):
                add_users(sums, some, self._schema, self._now)
            return WrittenShard(name, checksum, Totals.of(timelines, 0), sums.non_zero())
        with whole_file(self._folder / name, concurrent=True) as path:
            # A chunk is measured while the next one is made.
            with tf.io.TFRecordWriter(path) as writer, ThreadPoolExecutor(max_workers=1) as measuring:
                written, measured = self._timelines(shard, timelines), None
                while chunk := list(islice(written, USERS_PER_CHUNK)):
                    for timeline in chunk:
                        writer.write(timeline.now)
                    new_users += sum(timeline.before is None for timeline in chunk)
                    if measured:
                        measured.result()
                    measured = measuring.submit(self._measure, sums, chunk)
                if measured:
                    measured.result()
            checksum = file_checksum(path)
        return WrittenShard(name, checksum, Totals.of(timelines, new_users), sums.non_zero())

    def _timelines(self, shard: int, found: ShardTimelines) -> Iterator[_Written]:
        """Yields all timelines of a shard, by user."""
        before = self._before.timelines(shard) if self._before else iter(())
        old = next(before, None)
        for user, example in found:
            while old is not None and user_of(old) < user.encode():
                yield _Written(old, old)
                old = next(before, None)
            if old is not None and user_of(old) == user.encode():
                yield _Written(extended(old, example, profile=user in found.profiled), old)
                old = next(before, None)
            else:
                yield _Written(example.SerializeToString(deterministic=True), None)
        while old is not None:
            yield _Written(old, old)
            old = next(before, None)

    def _measure(self, sums: Sums, chunk: list[_Written]) -> None:
        """Adds what some timelines add to the report: all that is in them, or only what is new."""
        if self._before and self._before.same_parts:
            chunk = [timeline for timeline in chunk if timeline.now is not timeline.before]
            gone = new_sums(self._schema)
            if old := [timeline.before for timeline in chunk if timeline.before is not None]:
                add_users(gone, old, self._schema, self._before.now)
            sums.subtract(gone)
        if chunk:
            add_users(sums, [timeline.now for timeline in chunk], self._schema, self._now)
