"""Engine on Apache Beam. Needs the extra `beam`.

Three pipelines, one for each reading. Their elements are parts of files and blocks of rows, not rows: what a worker
does to a part, or to a shard, the local engine does to a file, or to a shard, by the same functions.

    check   parts of files -> checks of each -> checks of the file
    count   parts of files -> blocks of rows, by shard -> shards without duplicates
                                                       -> blocks of counts, by bucket -> counts
    write   shards -> TFRecord files

What pipelines hand to each other and to this process lies in the folder of the run, beside the records; all workers
must see it, and the logs, under the same path. Work may be done again, even twice at a time: the same files come of it,
each written aside and renamed. `docs/scaling.md` says what a worker holds.
"""

import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from atrank_tf.files import whole_file
from atrank_tf.preparation.cleaning import UNKNOWN_ACTIONS_SHOWN, CleanLog
from atrank_tf.preparation.counting import Counts, Dropped, MeanAndVariance, count_shard, sum_objects, sum_values
from atrank_tf.preparation.log_reader import UNKNOWN_ACTION, CheckResult, ColumnChecks, LogReader, combine_checks
from atrank_tf.preparation.open_log import Piece, as_error
from atrank_tf.preparation.shard_writer import ShardWriter, Totals, WrittenShard, WrittenShards
from atrank_tf.preparation.staging import Staging, shard_column
from atrank_tf.report.sums import NonZero
from atrank_tf.schema import Schema

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.utils.shared import Shared
except ImportError as error:
    raise ImportError("Preparing on Apache Beam needs apache-beam: pip install 'atrank-tf[beam]'") from error

PART_ROWS = 1 << 18
"""Rows of a file that are read at a time."""
_MOST_BUCKETS = 64
_NAMESPACE = "atrank_tf.prepare"
_Block = tuple[str, bytes]
"""The label of a file, and some of its rows."""


class BeamEngine:
    """Engine of any machines that Apache Beam has a runner for.

    Args:
        flags: flags of Beam and its runner, such as `--runner=FlinkRunner`. Defaults to Beam's own defaults.

    Attributes:
        counters: name -> value of the counters of all pipelines so far, as the runner has them. A runner may count work
            that was done again twice; what the manifest says is computed from the rows.
    """

    counters: dict[str, int]

    def __init__(self, flags: Sequence[str] = ()) -> None:
        self._flags = list(flags)
        self.counters = defaultdict(int)

    def check_columns(self, logs: Mapping[str, LogReader], work: Path) -> dict[str, ColumnChecks]:
        """Reads parts of files side by side."""
        with self._pipeline("check") as pipeline:
            found = _parts(pipeline, logs) | "check columns" >> beam.ParDo(_CheckColumns(logs)).with_outputs(
                "unknown", main="checks"
            )
            checks = found.checks | "checks of a file" >> beam.CombinePerKey(combine_checks)
            _write(checks | beam.MapTuple(lambda label, checks: (label, checks.results)), work / "checks")
            actions = found.unknown | "rows of an action" >> beam.CombinePerKey(sum)
            most = actions | beam.MapTuple(lambda key, rows: (key[0], (key[1], rows))) | _most_frequent()
            _write(most, work / "unknown_actions")
        unknown = {label: tuple(map(tuple, found)) for label, found in _read(work / "unknown_actions")}
        results = {
            label: {name: CheckResult(*result) for name, result in found.items()}
            for label, found in _read(work / "checks")
        }
        return {label: ColumnChecks(found, unknown.get(label, ())) for label, found in results.items()}

    def count(self, logs: Mapping[str, CleanLog], staging: Staging, schema: Schema, work: Path) -> Counts:
        """Shuffles rows by shard, then counts by bucket."""
        with self._pipeline("count") as pipeline:
            parts = _parts(pipeline, {label: log.reader for label, log in logs.items()})
            blocks = parts | "divide by user" >> beam.ParDo(_Divide(logs, staging.shards))
            shards = blocks | "shards" >> beam.GroupByKey()
            counted = shards | "count" >> beam.ParDo(_CountShard(staging, schema)).with_outputs("notes", main="counts")
            buckets = counted.counts | "buckets" >> beam.GroupByKey()
            _ = buckets | "sum" >> beam.ParDo(_SumCounts(_smallest_counts(schema), work / "counts"))
            _write(counted.notes, work / "notes")
        counts = Counts(objects=_tables(work / "counts/objects"), values=_tables(work / "counts/values"))
        # By shard: the local engine's order.
        for _, dense, dropped in sorted(_read(work / "notes"), key=lambda note: note[0]):
            more = {
                owner: {name: MeanAndVariance(*own) for name, own in found.items()} for owner, found in dense.items()
            }
            counts.add(Counts(dense=more, dropped=[Dropped(*each) for each in dropped]))
        return counts

    def write(self, staging: Staging, folder: Path, schema: Schema, work: Path, now: int) -> WrittenShards:
        """Writes shards side by side."""
        sums = work / "sums"
        sums.mkdir()
        with self._pipeline("write") as pipeline:
            shards = pipeline | beam.Create(range(staging.shards)) | beam.Reshuffle()
            _write(shards | "write" >> beam.ParDo(_WriteShard(staging, folder, schema, now, sums)), work / "written")
        written = WrittenShards(schema)
        for name, checksum, totals in _read(work / "written"):
            found = pl.read_parquet(sums / f"{name}.parquet")
            measured = NonZero(found["place"].to_numpy(), found["number"].to_numpy())
            written.add(WrittenShard(name, checksum, Totals(**totals), measured))
        return written

    @contextmanager
    def _pipeline(self, name: str) -> Iterator[Any]:
        """Gives a pipeline to fill, and runs it."""
        pipeline = beam.Pipeline(options=PipelineOptions(self._flags))
        yield pipeline
        result = pipeline.run()
        state = result.wait_until_finish() or result.state
        if state != beam.runners.runner.PipelineState.DONE:
            raise RuntimeError(f'Expected the pipeline "{name}" to end as DONE. It ended as {state}.')
        for counter in result.metrics().query(beam.metrics.MetricsFilter().with_namespace(_NAMESPACE))["counters"]:
            self.counters[counter.key.metric.name] += counter.result


class _CheckColumns(beam.DoFn):
    """Checks the columns of a part of a file."""

    def __init__(self, logs: Mapping[str, LogReader]) -> None:
        self._logs = logs

    def process(self, part: tuple[str, Piece]) -> Iterator[Any]:
        label, piece = part
        reader = self._logs[label]
        checks = reader.check_columns(piece)
        yield label, checks
        _counter(f"{label}: read").inc(piece.stop - piece.start)
        for reason in reader.reasons:
            if checks[reason].rows:
                _counter(f"{label}: {reason}").inc(checks[reason].rows)
        if checks[UNKNOWN_ACTION].rows:
            for action, count in reader.unknown_actions(piece).iter_rows():
                yield beam.pvalue.TaggedOutput("unknown", ((label, action), count))


class _Divide(beam.DoFn):
    """Divides the clean rows of a part of a file into blocks, by shard."""

    def __init__(self, logs: Mapping[str, CleanLog], shards: int) -> None:
        self._logs, self._shards = logs, shards

    def process(self, part: tuple[str, Piece]) -> Iterator[tuple[int, _Block]]:
        label, piece = part
        log = self._logs[label]
        with as_error(log.reader.file.path):
            rows = log.reader.clean(log.checks, piece).collect(engine="streaming")
        for shard, own in _divided(rows, "user", self._shards):
            yield shard, (label, _to_bytes(own))


class _CountShard(beam.DoFn):
    """Stages a shard without duplicates; yields blocks of its counts, by bucket, and notes."""

    def __init__(self, staging: Staging, schema: Schema) -> None:
        self._staging, self._schema = staging, schema

    def process(self, shard: tuple[int, Iterable[_Block]]) -> Iterator[Any]:
        number, blocks = shard
        parts: dict[str, list[pl.DataFrame]] = defaultdict(list)
        for label, block in blocks:
            parts[label].append(_of_bytes(block))
        kept, counts = count_shard({label: pl.concat(own) for label, own in parts.items()}, self._schema)
        for label, rows in kept.items():
            self._staging.replace(label, number, rows)
            _counter(f"{label}: kept").inc(len(rows))
        for dropped in counts.dropped:
            _counter(f"{dropped.label}: {dropped.reason}").inc(dropped.rows)
        buckets = min(self._staging.shards, _MOST_BUCKETS)
        for kind, column, tables in (("objects", "id", counts.objects), ("values", "value", counts.values)):
            for name, found in tables.items():
                # A table without a single value must be known to have none.
                for bucket, own in _divided(found, column, buckets) or [(0, found)]:
                    yield (kind, name, bucket), _to_bytes(own)
        dense = {
            owner: {name: dataclasses.astuple(own) for name, own in found.items()}
            for owner, found in counts.dense.items()
        }
        yield beam.pvalue.TaggedOutput("notes", (number, dense, counts.dropped))


class _SumCounts(beam.DoFn):
    """Sums the counts of a bucket into a file."""

    def __init__(self, smallest: Mapping[str, int], folder: Path) -> None:
        self._smallest, self._folder = smallest, folder

    def process(self, bucket: tuple[tuple[str, str, int], Iterable[bytes]]) -> None:
        (kind, name, number), blocks = bucket
        found = [_of_bytes(block) for block in blocks]
        if kind == "objects":
            counts = sum_objects(found)
        else:
            counts = sum_values(found).filter(pl.col("count") >= self._smallest.get(name, 0))
        folder = self._folder / kind / name
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / f"{number}.parquet", concurrent=True) as partial:
            counts.write_parquet(partial)


class _WriteShard(beam.DoFn):
    """Writes the TFRecord file of a shard, and what its users add to the report; yields file, checksum and totals."""

    def __init__(self, staging: Staging, folder: Path, schema: Schema, now: int, sums: Path) -> None:
        self._staging, self._folder, self._schema, self._now, self._sums = staging, folder, schema, now, sums
        self._shared = Shared()

    def setup(self) -> None:
        # What is looked up is held once in a process, not once in each of its threads.
        self._writer = self._shared.acquire(lambda: ShardWriter(self._staging, self._folder, self._schema, self._now))

    def process(self, shard: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
        written = self._writer.write(shard)
        with whole_file(self._sums / f"{written.name}.parquet", concurrent=True) as partial:
            pl.DataFrame(written.measured._asdict()).write_parquet(partial)
        _counter("users").inc(written.totals.users)
        yield written.name, written.checksum, dataclasses.asdict(written.totals)


def _counter(name: str) -> Any:
    return beam.metrics.Metrics.counter(_NAMESPACE, name)


def _parts(pipeline: Any, logs: Mapping[str, LogReader]) -> Any:
    parts = [(label, piece) for label, log in logs.items() for piece in log.pieces(PART_ROWS)]
    return pipeline | "parts of files" >> beam.Create(parts) | beam.Reshuffle()


def _most_frequent() -> Any:
    """Of (label, (action, rows)), the most frequent actions of each label; by name where they are equally so."""
    order = beam.combiners.Top.PerKey(UNKNOWN_ACTIONS_SHOWN, key=lambda pair: (-pair[1], pair[0]), reverse=True)
    return "most frequent" >> order


def _smallest_counts(schema: Schema) -> dict[str, int]:
    """Returns table -> `min_count`, of the tables whose values are all counted in a pipeline: no entity uses them."""
    used = {entity.id.table for entity in schema.entities.values()}
    used |= {feature.table for entity in schema.entities.values() for feature in entity.features.values()}
    return {name: table.min_count for name, table in schema.tables.items() if name not in used}


def _divided(rows: pl.DataFrame, column: str, parts: int) -> list[tuple[int, pl.DataFrame]]:
    numbered = rows.with_columns(shard_column(column, parts))
    found = numbered.partition_by("shard", as_dict=True, include_key=False)
    return [(int(number), own) for (number,), own in found.items()]


def _to_bytes(frame: pl.DataFrame) -> bytes:
    block = io.BytesIO()
    frame.write_ipc(block, compression="lz4")
    return block.getvalue()


def _of_bytes(block: bytes) -> pl.DataFrame:
    return pl.read_ipc(block)


def _tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Reads the buckets of each table of a folder."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return {
        name: pl.concat([pl.read_parquet(path) for path in sorted((folder / name).glob("*.parquet"))]) for name in names
    }


def _write(found: Any, path: Path) -> None:
    """Writes a collection as JSON lines, for `_read`."""
    lines = found | f"{path.name} as JSON" >> beam.Map(json.dumps)
    _ = lines | f"write {path.name}" >> beam.io.WriteToText(str(path), file_name_suffix=".jsonl")


def _read(path: Path) -> Iterator[Any]:
    for file in sorted(path.parent.glob(f"{path.name}-*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
