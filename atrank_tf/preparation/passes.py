"""The three passes of prepare over all rows: check, count, write; each a function of a piece or a shard, for an engine.

    check   pieces of files -> checks of each, added up for each file
    count   pieces of files -> rows divided by user, in the staging folder
            shards -> shards without duplicates, and a file of counts for each
            buckets of counts -> sums
    write   shards -> TFRecord files

What is done to a piece and to a shard are functions that know no engine (`LogReader.check_columns` and `clean`,
`count_shard`, `ShardWriter`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from uuid import uuid4

import polars as pl

from atrank_tf.files import whole_file
from atrank_tf.preparation.cleaning import UNKNOWN_ACTIONS_SHOWN, CleanLog
from atrank_tf.preparation.counting import Counts, count_shard
from atrank_tf.preparation.engine import Engine, run_all
from atrank_tf.preparation.log_reader import UNKNOWN_ACTION, ColumnChecks, LogReader, combine_checks
from atrank_tf.preparation.open_log import Piece
from atrank_tf.preparation.shard_writer import ShardWriter, WrittenShard, WrittenShards
from atrank_tf.preparation.staging import Staging, shard_column
from atrank_tf.schema import Schema

PIECE_ROWS = 1 << 20
"""Most rows of a file that are one item: they are streamed, but each piece leaves a file in every shard."""
_SHARDS_PER_BUCKET, _MOST_BUCKETS = 8, 64
_UNKNOWN_ACTIONS_KEPT = 1_000
"""Most unknown actions of a piece that are counted: in a column of something else every row has another one."""
_COUNTS = {"table": pl.String, "value": pl.String, "count": pl.Int64, "uses": pl.Int64}
"""Counts of all tables in one frame; `table` is "objects/<entity>" or "values/<table>", which has no uses."""


def check_columns(engine: Engine, logs: Mapping[str, LogReader], shared: Path) -> dict[str, ColumnChecks]:
    """Reads the files and checks their columns.

    Args:
        engine: what does the work.
        logs: label -> file.
        shared: a folder that all workers see.
    """
    found: dict[str, list[ColumnChecks]] = {label: [] for label in logs}
    unknown: dict[str, Counter[str]] = {label: Counter() for label in logs}
    for label, checks in run_all(engine, _CheckPiece(logs), _pieces(logs), shared, "checking", "pieces"):
        found[label].append(checks)
        unknown[label].update(dict(checks.unknown_actions))
    most = {
        label: tuple(sorted(rows.items(), key=lambda each: (-each[1], each[0]))[:UNKNOWN_ACTIONS_SHOWN])
        for label, rows in unknown.items()
    }
    return {label: replace(combine_checks(own), unknown_actions=most[label]) for label, own in found.items()}


def count(engine: Engine, logs: Mapping[str, CleanLog], staging: Staging, schema: Schema, shared: Path) -> Counts:
    """Divides clean rows by user into shards without duplicates, and counts.

    Args:
        engine: what does the work.
        logs: label -> file, of those whose rows are of users.
        staging: where the shards go.
        schema: the schema.
        shared: a folder that all workers see.
    """
    pieces = list(enumerate(_pieces({label: log.reader for label, log in logs.items()})))
    for _ in run_all(engine, _Divide(logs, staging), pieces, shared, "dividing by user", "pieces"):
        pass
    folder, shards = shared / "counts", list(range(staging.shards))
    folder.mkdir()
    buckets = min(-(-staging.shards // _SHARDS_PER_BUCKET), _MOST_BUCKETS)
    counts = Counts()
    counting = _CountShard(tuple(logs), staging, schema, folder, buckets)
    for shard, more in zip(shards, run_all(engine, counting, shards, shared, "counting", "shards"), strict=True):
        counts.add(more)
        for label in logs:
            staging.forget(label, shard)
    summing = _SumBucket(folder, _smallest_counts(schema))
    sums = list(run_all(engine, summing, list(range(buckets)), shared, "adding up", "buckets"))
    _add_tables(counts, pl.concat([pl.read_parquet(path, glob=False) for path in sums]), schema)
    return counts


def write(engine: Engine, staging: Staging, folder: Path, schema: Schema, shared: Path, now: int) -> WrittenShards:
    """Writes all shards of the timelines.

    Args:
        engine: what does the work.
        staging: what `count` left.
        folder: the records folder; the catalogs and the vocabularies are there already.
        schema: the schema, prepared.
        shared: a folder that all workers see.
        now: as `ShardWriter` has it.
    """
    written, writing = WrittenShards(schema), _WriteShard(staging, folder, schema, now)
    try:
        for shard in run_all(engine, writing, list(range(staging.shards)), shared, "writing", "shards"):
            written.add(shard)
    finally:
        _WRITERS.clear()  # This process may have been the worker.
    return written


def _pieces(logs: Mapping[str, LogReader]) -> list[tuple[str, Piece]]:
    return [(label, piece) for label, log in logs.items() for piece in log.pieces(PIECE_ROWS)]


@dataclass(frozen=True)
class _CheckPiece:
    logs: Mapping[str, LogReader]

    def __call__(self, part: tuple[str, Piece]) -> tuple[str, ColumnChecks]:
        label, piece = part
        reader = self.logs[label]
        checks = reader.check_columns(piece)
        if not checks[UNKNOWN_ACTION].rows:
            return label, checks
        named = reader.unknown_actions(piece).sort(["rows", "action"], descending=[True, False])
        return label, replace(checks, unknown_actions=tuple(named.head(_UNKNOWN_ACTIONS_KEPT).iter_rows()))


@dataclass(frozen=True)
class _Divide:
    logs: Mapping[str, CleanLog]
    staging: Staging

    def __call__(self, numbered: tuple[int, tuple[str, Piece]]) -> None:
        number, (label, piece) = numbered
        log = self.logs[label]
        with log.reader.as_error(piece):
            self.staging.divide(label, number, log.reader.clean(log.checks, piece))


@dataclass(frozen=True)
class _CountShard:
    """Keeps a shard without duplicates; its counts go into a file, but for means and for what was dropped."""

    labels: tuple[str, ...]
    staging: Staging
    schema: Schema
    folder: Path
    buckets: int

    def __call__(self, shard: int) -> Counts:
        found = {label: rows for label in self.labels if (rows := self.staging.divided(label, shard)) is not None}
        kept, counts = count_shard(found, self.schema)
        for label, rows in kept.items():
            self.staging.keep(label, shard, rows)
        bucket = shard_column("value", self.buckets) if self.buckets > 1 else pl.lit(0, pl.Int32).alias("shard")
        with whole_file(self.folder / f"{shard:06}.parquet", concurrent=True) as partial:
            _tables(counts).with_columns(bucket).sort("shard").write_parquet(partial, compression="lz4")
        dense = {owner: dict(columns) for owner, columns in counts.dense.items()}
        return Counts(dense=dense, dropped=counts.dropped)


@dataclass(frozen=True)
class _SumBucket:
    """Adds up the counts of all shards whose values are in a bucket; returns the file."""

    folder: Path
    smallest: Mapping[str, int]

    def __call__(self, bucket: int) -> Path:
        frame = pl.scan_parquet(sorted(self.folder.glob("[0-9]*.parquet")), glob=False)
        sums = frame.filter(shard=bucket).group_by("table", "value").agg(pl.col("count", "uses").sum())
        least = pl.col("table").replace_strict(self.smallest, default=0, return_dtype=pl.Int64)
        path = self.folder / f"sum-{bucket:06}.parquet"
        with whole_file(path, concurrent=True) as partial:
            sums.filter(pl.col("count") >= least).collect(engine="streaming").write_parquet(partial)
        return path


_WRITERS: dict[str, ShardWriter] = {}
"""Run -> the writer of this process: what is looked up in is held once, and not read again for each shard."""
_LOCK = Lock()


@dataclass(frozen=True)
class _WriteShard:
    staging: Staging
    folder: Path
    schema: Schema
    now: int
    run: str = field(default_factory=lambda: uuid4().hex)

    def __call__(self, shard: int) -> WrittenShard:
        with _LOCK:
            if self.run not in _WRITERS:
                _WRITERS.clear()
                _WRITERS[self.run] = ShardWriter(self.staging, self.folder, self.schema, self.now)
            writer = _WRITERS[self.run]
        return writer.write(shard)


def _tables(counts: Counts) -> pl.DataFrame:
    """Returns the counts of all tables in one frame."""
    nothing = pl.DataFrame(schema=_COUNTS)
    objects = [
        found.select(pl.lit(f"objects/{name}").alias("table"), pl.col("id").alias("value"), "count", "uses")
        for name, found in counts.objects.items()
    ]
    values = [
        found.select(pl.lit(f"values/{name}").alias("table"), "value", "count", pl.lit(0, pl.Int64).alias("uses"))
        for name, found in counts.values.items()
    ]
    return pl.concat([nothing, *objects, *values])


def _add_tables(counts: Counts, sums: pl.DataFrame, schema: Schema) -> None:
    """Adds what `_tables` returns; of what was never seen it is known then that it never was."""
    found = sums.partition_by("table", as_dict=True, include_key=False)
    nothing = sums.clear().drop("table")
    for name in schema.entities:
        counts.add_objects(name, found.get((f"objects/{name}",), nothing).rename({"value": "id"}))
    for name in schema.tables:
        counts.add_values(name, found.get((f"values/{name}",), nothing).drop("uses"))


def _smallest_counts(schema: Schema) -> dict[str, int]:
    """Returns table -> `min_count`, of the tables whose values are all counted in shards: no entity uses them."""
    used = {entity.id.table for entity in schema.entities.values()}
    used |= {feature.table for entity in schema.entities.values() for feature in entity.features.values()}
    return {f"values/{name}": table.min_count for name, table in schema.tables.items() if name not in used}
