"""Prepare on this machine: files are streamed, and shards are held one after the other."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from atrank_tf.preparation.cleaning import UNKNOWN_ACTIONS_SHOWN, CleanLog
from atrank_tf.preparation.column_checks import Facts
from atrank_tf.preparation.counting import Counts, count_shard
from atrank_tf.preparation.log_reader import UNKNOWN_ACTION, RawLog
from atrank_tf.preparation.open_log import as_error
from atrank_tf.preparation.shard_writer import ShardWriter
from atrank_tf.preparation.staging import Staging
from atrank_tf.preparation.totals import Totals
from atrank_tf.schema import Schema


class LocalEngine:
    """The `Engine` of one machine."""

    def facts(self, logs: Mapping[str, RawLog], work: Path) -> dict[str, Facts]:
        """Reads the files one after the other."""
        return {label: _facts(raw) for label, raw in tqdm(logs.items(), "cleaning", unit="file", disable=None)}

    def count(self, logs: Mapping[str, CleanLog], staging: Staging, schema: Schema, work: Path) -> Counts:
        """Divides the files by user, and reads shard by shard."""
        for label, log in tqdm(logs.items(), "dividing by user", unit="file", disable=None):
            with as_error(log.raw.file.path):
                staging.write(label, log.frame)
        counts = Counts()
        for shard in tqdm(range(staging.shards), "counting", unit="shard", disable=None):
            found = {label: staging.read(label, shard) for label in logs}
            kept, more = count_shard({label: rows for label, rows in found.items() if rows is not None}, schema)
            for label, rows in kept.items():
                staging.replace(label, shard, rows)
            counts.add(more)
        return counts

    def write(self, staging: Staging, folder: Path, schema: Schema, work: Path) -> Totals:
        """Writes shard after shard."""
        writer, totals = ShardWriter(staging, folder, schema), Totals()
        with tqdm(desc="writing", unit="user", disable=None) as progress:
            for shard in range(staging.shards):
                more = writer.write(shard)
                totals = totals.add(more)
                progress.update(more.users)
        return totals


def _facts(raw: RawLog) -> Facts:
    facts = raw.facts()
    if not facts[UNKNOWN_ACTION].rows:
        return facts
    named = raw.unknown_actions().sort(["rows", "action"], descending=[True, False]).head(UNKNOWN_ACTIONS_SHOWN)
    return replace(facts, unknown_actions=tuple(named.iter_rows()))
