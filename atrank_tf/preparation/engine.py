"""Engines: do the parts of prepare that touch every row, on this machine or on many.

Everything between these steps is small: what the schema says, the vocabularies and the catalogs. What is done to a part
of a file and to a shard are functions that all engines call (`LogReader.check_columns` and `clean`, `count_shard`,
`ShardWriter`), so records do not depend on the engine.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from atrank_tf.preparation.cleaning import UNKNOWN_ACTIONS_SHOWN, CleanLog
from atrank_tf.preparation.counting import Counts, count_shard
from atrank_tf.preparation.log_reader import UNKNOWN_ACTION, ColumnChecks, LogReader
from atrank_tf.preparation.open_log import as_error
from atrank_tf.preparation.shard_writer import ShardWriter, WrittenShards
from atrank_tf.preparation.staging import Staging
from atrank_tf.progress import progress, tracked
from atrank_tf.schema import Schema


class Engine(Protocol):
    """Protocol of what does the three readings of prepare."""

    def check_columns(self, logs: Mapping[str, LogReader], work: Path) -> dict[str, ColumnChecks]:
        """Reads the files and checks their columns.

        Args:
            logs: label -> file.
            work: a folder for what the engine needs.
        """

    def count(self, logs: Mapping[str, CleanLog], staging: Staging, schema: Schema, work: Path) -> Counts:
        """Divides clean rows by user into shards without duplicates, and counts.

        Args:
            logs: label -> file, of those whose rows are of users.
            staging: where the shards go.
            schema: the schema.
            work: a folder for what the engine needs.
        """

    def write(self, staging: Staging, folder: Path, schema: Schema, work: Path, now: int) -> WrittenShards:
        """Writes all shards of the timelines.

        Args:
            staging: what `count` left.
            folder: the records folder; the catalogs and the vocabularies are there already.
            schema: the schema, prepared.
            work: a folder for what the engine needs.
            now: as `ShardWriter` has it.
        """


class LocalEngine:
    """Engine of this machine: streams files, and holds shards one after the other."""

    def check_columns(self, logs: Mapping[str, LogReader], work: Path) -> dict[str, ColumnChecks]:
        """Reads the files one after the other."""
        return {label: _check_columns(reader) for label, reader in tracked(logs.items(), "cleaning", "files")}

    def count(self, logs: Mapping[str, CleanLog], staging: Staging, schema: Schema, work: Path) -> Counts:
        """Divides the files by user, and reads shard by shard."""
        for label, log in tracked(logs.items(), "dividing by user", "files"):
            with as_error(log.reader.file.path):
                staging.write(label, log.frame)
        counts = Counts()
        for shard in tracked(range(staging.shards), "counting", "shards"):
            found = {label: staging.read(label, shard) for label in logs}
            kept, more = count_shard({label: rows for label, rows in found.items() if rows is not None}, schema)
            for label, rows in kept.items():
                staging.replace(label, shard, rows)
            counts.add(more)
        return counts

    def write(self, staging: Staging, folder: Path, schema: Schema, work: Path, now: int) -> WrittenShards:
        """Writes shard after shard."""
        writer, written = ShardWriter(staging, folder, schema, now), WrittenShards(schema)
        with progress("writing", "shards", staging.shards) as shown:
            for shard in range(staging.shards):
                written.add(writer.write(shard))
                shown.update(1)
        return written


def _check_columns(reader: LogReader) -> ColumnChecks:
    checks = reader.check_columns()
    if not checks[UNKNOWN_ACTION].rows:
        return checks
    named = reader.unknown_actions().sort(["rows", "action"], descending=[True, False]).head(UNKNOWN_ACTIONS_SHOWN)
    return replace(checks, unknown_actions=tuple(named.iter_rows()))
