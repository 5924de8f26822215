"""The three passes of prepare over all rows: check, count, write; each a function of a piece or a shard, for an engine.

    check   pieces of files -> checks of each, added up for each file
    count   pieces of files -> rows divided by user, in the staging folder
            shards -> shards without duplicates, and a file of counts for each
            buckets of counts -> sums
    write   shards -> TFRecord files

What is done to a piece and to a shard are functions that know no engine (`LogReader.check_columns` and `clean`,
`count_shard`, `ShardWriter`). Each says which files it `reads` and `writes` for an item, for workers who
share no folder (`exchange.py`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from uuid import uuid4

import polars as pl

from atrank_tf.files import file_checksum, whole_file
from atrank_tf.preparation.cleaning import UNKNOWN_ACTIONS_SHOWN, CleanLog
from atrank_tf.preparation.counting import Counts, count_shard
from atrank_tf.preparation.engine import Engine, run_all
from atrank_tf.preparation.log_reader import UNKNOWN_ACTION, ColumnChecks, LogReader, combine_checks
from atrank_tf.preparation.open_log import Piece
from atrank_tf.preparation.records_folder import shard_name
from atrank_tf.preparation.shard_writer import ShardWriter, WrittenShard, WrittenShards
from atrank_tf.preparation.staging import Files, Staging, shard_column
from atrank_tf.preparation.standing import Standing, bucket_name, later_name
from atrank_tf.schema import Schema, SplitKind

PIECE_ROWS = 1 << 20
"""Most rows of a file that are one item: they are streamed, but each piece leaves a file in every shard."""
_SHARDS_PER_BUCKET, _MOST_BUCKETS = 8, 64
_UNKNOWN_ACTIONS_KEPT = 1_000
"""Most unknown actions of a piece that are counted: in a column of something else every row has another one."""
_COUNTS = {"table": pl.String, "value": pl.String, "count": pl.Int64, "shown": pl.Int64}
"""Counts of all tables in one frame; `table` is "objects/<entity>" or "values/<table>", which nobody is shown."""


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


def count(
    engine: Engine,
    logs: Mapping[str, CleanLog],
    staging: Staging,
    schema: Schema,
    shared: Path,
    records: Path,
    before: Standing | None,
) -> tuple[Counts, dict[str, str]]:
    """Divides clean rows by user into shards without duplicates, and counts.

    Args:
        engine: what does the work.
        logs: label -> file, of those whose rows are of users.
        staging: where the shards go.
        schema: the schema.
        shared: a folder that all workers see.
        records: the records folder, in which what is counted is kept.
        before: records whose counts are added; None for none.

    Returns:
        The counts, and file -> SHA-256 of what is kept.
    """
    pieces = list(enumerate(_pieces({label: log.reader for label, log in logs.items()})))
    for _ in run_all(engine, _Divide(logs, staging), pieces, shared, "dividing by user", "pieces"):
        pass
    folder, shards = shared / "counts", list(range(staging.shards))
    folder.mkdir()
    buckets = min(-(-staging.shards // _SHARDS_PER_BUCKET), _MOST_BUCKETS)
    counts, kept = before.counts() if before else Counts(), {}
    counting = _CountShard(tuple(logs), staging, schema, folder, buckets, records, before)
    of_shards = run_all(engine, counting, shards, shared, "counting", "shards")
    for shard, (more, files) in zip(shards, of_shards, strict=True):
        counts.add(more)
        kept.update(files)
        for label in logs:
            staging.forget(label, shard)
    summing = _SumBucket(folder, _smallest_counts(schema), records, before)
    sums = list(run_all(engine, summing, list(range(buckets)), shared, "adding up", "buckets"))
    kept.update({bucket_name(bucket): checksum for bucket, (_, checksum) in enumerate(sums)})
    _add_tables(counts, pl.concat([pl.read_parquet(path, glob=False) for path, _ in sums]), schema)
    return counts, kept


def write(
    engine: Engine,
    staging: Staging,
    folder: Path,
    schema: Schema,
    shared: Path,
    now: int,
    before: Standing | None,
) -> WrittenShards:
    """Writes all shards of the timelines.

    Args:
        engine: what does the work.
        staging: what `count` left.
        folder: the records folder; the catalogs and the vocabularies are there already.
        schema: the schema, prepared.
        shared: a folder that all workers see.
        now: as `ShardWriter` has it.
        before: records to whose timelines these are added; None for none.
    """
    written, writing = WrittenShards(schema, before), _WriteShard(staging, folder, schema, now, before)
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

    def reads(self, part: tuple[str, Piece]) -> list[Files]:
        label, piece = part
        return [Files(self.logs[label].source(piece))]

    def writes(self, part: tuple[str, Piece]) -> list[Files]:
        del part
        return []

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

    def reads(self, numbered: tuple[int, tuple[str, Piece]]) -> list[Files]:
        _, (label, piece) = numbered
        return [Files(self.logs[label].reader.source(piece))]

    def writes(self, numbered: tuple[int, tuple[str, Piece]]) -> list[Files]:
        number, (label, _) = numbered
        return [self.staging.divided_files(label, number)]

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
    records: Path
    before: Standing | None

    def reads(self, shard: int) -> list[Files]:
        return [self.staging.divided_files_of(shard), *(self.before.files(shard) if self.before else [])]

    def writes(self, shard: int) -> list[Files]:
        counts = self.folder / f"{shard:06}.parquet"
        return [self.staging.kept_files(shard), Files(counts), Files(self.records, later_name("*", shard))]

    def __call__(self, shard: int) -> tuple[Counts, dict[str, str]]:
        found = {label: rows for label in self.labels if (rows := self.staging.divided(label, shard)) is not None}
        profiles = self.schema.user.features or self.schema.user.dense
        known = self.before.users(shard) if self.before and found and profiles else None
        kept, counts = count_shard(found, self.schema, known)
        for label, rows in kept.items():
            self.staging.keep(label, shard, rows)
        earlier = self.before.later(shard) if self.before else {}
        for label, rows in earlier.items():
            counts.add(count_shard({label: rows}, self.schema, known=rows["user"])[1])
        bucket = shard_column("value", self.buckets) if self.buckets > 1 else pl.lit(0, pl.Int32).alias("shard")
        with whole_file(self.folder / f"{shard:06}.parquet", concurrent=True) as partial:
            _tables(counts).with_columns(bucket).sort("shard").write_parquet(partial, compression="lz4")
        dense = {owner: dict(columns) for owner, columns in counts.dense.items()}
        small = Counts(dense=dense, dropped=counts.dropped, newest=counts.newest)
        return small, self._keep_later(shard, [*earlier.items(), *kept.items()])

    def _keep_later(self, shard: int, found: list[tuple[str, pl.DataFrame]]) -> dict[str, str]:
        """Keeps what does not count yet in the records; returns file -> SHA-256."""
        split, files = self.schema.split, {}
        for label in dict.fromkeys(label for label, _ in found) if split.kind is SplitKind.BY_TIME else ():
            rows = pl.concat([rows for name, rows in found if name == label])
            if "timestamp" not in rows.columns:
                continue
            rows = rows.filter(pl.col("timestamp") >= split.validation_from).sort("user", "timestamp", "row")
            rows = rows.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
            if len(rows):
                files[later_name(label, shard)] = _write(rows, self.records / later_name(label, shard))
        return files


@dataclass(frozen=True)
class _SumBucket:
    """Adds up the counts of all shards whose values are in a bucket, and those of before.

    Returns the file of those that come back, and the SHA-256 of the one in the records, which has all.
    """

    folder: Path
    smallest: Mapping[str, int]
    records: Path
    before: Standing | None

    def reads(self, bucket: int) -> list[Files]:
        before = [Files(Path(self.before.path, bucket_name(bucket)))] if self.before else []
        return [Files(self.folder, "[0-9]*.parquet"), *before]

    def writes(self, bucket: int) -> list[Files]:
        return [Files(self.folder / f"sum-{bucket:06}.parquet"), Files(self.records / bucket_name(bucket))]

    def __call__(self, bucket: int) -> tuple[Path, str]:
        frame = pl.scan_parquet(sorted(self.folder.glob("[0-9]*.parquet")), glob=False)
        frame = frame.filter(shard=bucket).drop("shard")
        if self.before:
            frame = pl.concat([frame, pl.scan_parquet(self.before.bucket(bucket), glob=False)])
        sums = frame.group_by("table", "value").agg(pl.col("count", "shown").sum()).sort("table", "value")
        found = sums.collect(engine="streaming")
        least = pl.col("table").replace_strict(self.smallest, default=0, return_dtype=pl.Int64)
        path = self.folder / f"sum-{bucket:06}.parquet"
        _write(found.filter(pl.col("count") >= least), path)
        return path, _write(found, self.records / bucket_name(bucket))


def _write(rows: pl.DataFrame, path: Path) -> str:
    """Writes a file, whole or not at all, maybe at the same time as another worker; returns its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, concurrent=True) as partial:
        rows.write_parquet(partial)
        return file_checksum(partial)


_WRITERS: dict[str, ShardWriter] = {}
"""Run -> the writer of this process: what is looked up in is held once, and not read again for each shard."""
_LOCK = Lock()


@dataclass(frozen=True)
class _WriteShard:
    staging: Staging
    folder: Path
    schema: Schema
    now: int
    before: Standing | None
    run: str = field(default_factory=lambda: uuid4().hex)

    def reads(self, shard: int) -> list[Files]:
        before = self.before.files(shard) if self.before else []
        described = [Files(self.folder / name, "*") for name in ("catalog", "vocabulary")]
        return [*described, self.staging.kept_files(shard), *before]

    def writes(self, shard: int) -> list[Files]:
        return [Files(self.folder / shard_name(shard, self.staging.shards))]

    def __call__(self, shard: int) -> WrittenShard:
        with _LOCK:
            if self.run not in _WRITERS:
                _WRITERS.clear()
                _WRITERS[self.run] = ShardWriter(self.staging, self.folder, self.schema, self.now, self.before)
            writer = _WRITERS[self.run]
        return writer.write(shard)


def _tables(counts: Counts) -> pl.DataFrame:
    """Returns the counts of all tables in one frame."""
    nothing = pl.DataFrame(schema=_COUNTS)
    objects = [
        found.select(pl.lit(f"objects/{name}").alias("table"), pl.col("id").alias("value"), "count", "shown")
        for name, found in counts.objects.items()
    ]
    values = [
        found.select(pl.lit(f"values/{name}").alias("table"), "value", "count", pl.lit(0, pl.Int64).alias("shown"))
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
        counts.add_values(name, found.get((f"values/{name}",), nothing).drop("shown"))


def _smallest_counts(schema: Schema) -> dict[str, int]:
    """Returns table -> `min_count`, of the tables whose values are all counted in shards: no entity uses them."""
    used = {entity.id.table for entity in schema.entities.values()}
    used |= {feature.table for entity in schema.entities.values() for feature in entity.features.values()}
    return {f"values/{name}": table.min_count for name, table in schema.tables.items() if name not in used}
