"""Makes records of logs of any size.

What is held in memory here: the catalogs and the vocabularies. The rows belong to the engine, which reads them three
times: to learn what is in the files, to divide them by user, and to write the timelines.
"""

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import astuple
from pathlib import Path
from typing import Any

import polars as pl

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.records import FORMAT, Records, read_manifest
from atrank_tf.files import file_checksum, save_arrays, text_array
from atrank_tf.paths import check_scheme
from atrank_tf.preparation import passes
from atrank_tf.preparation.catalogs import EntityObjects, build_catalogs, build_vocabularies, with_sizes
from atrank_tf.preparation.cleaning import REPEATED_ID, CleanLog, clean_log, open_reader
from atrank_tf.preparation.counting import Counts, Dropped, keep_first
from atrank_tf.preparation.engine import Engine
from atrank_tf.preparation.local_engine import local_engine
from atrank_tf.preparation.logs import BEHAVIORS, CATALOG, IMPRESSIONS, USER, USERS, LogFile, LogFiles, find_logs
from atrank_tf.preparation.open_log import as_error
from atrank_tf.preparation.records_folder import is_current, replacing, write_description, write_manifest
from atrank_tf.preparation.shard_writer import WrittenShards
from atrank_tf.preparation.staging import Staging
from atrank_tf.preparation.standing import APPEND, STATE, Standing
from atrank_tf.report import PARTS, check_parts, load_report, write_report
from atrank_tf.schema import Schema, dump_schema

SHARD_BYTES = 64 << 20
"""About the largest size of a shard."""
FEWEST_SHARDS = 8
"""So that reading can be parallel and shuffled even where the data is small."""
_BYTES_PER_ROW, _BYTES_PER_VALUE, _BYTES_PER_NUMBER = 12, 3, 4
"""What a behavior or a shown candidate takes in the records, about, and each value of its context."""


def prepare(
    logs: str,
    schema: Schema,
    records: str,
    *,
    shards: int = 0,
    overwrite: bool = False,
    empty_parts: bool = False,
    engine: Engine | None = None,
    append: str = "",
) -> Records:
    """Reads a logs folder and writes a records folder; does nothing if the records are current.

    The records appear whole or not at all, and take the place of older ones only then. They are the same whatever the
    engine.

    Args:
        logs: the logs folder, as `atrank_tf.preparation.logs` says.
        schema: what the logs hold.
        records: the records folder.
        shards: number of TFRecord files; 0 means files of at most about 64 MB, and 8 at least.
        overwrite: write the records even if they are current.
        empty_parts: whether training, validation or test of a task may have no target, as for a last training on all.
        engine: what reads the rows: `local_engine` of some processes, or one of `clusters`. Defaults to this process.
        append: records to which the logs are added, all of whose rows are later; `records` may be the same folder.
            Files of which there is nothing new may be missing. Defaults to none.

    Raises:
        ValueError: a file is refused (see `atrank_tf.preparation.logs`), a part of the data has no target,
            `records` is some other folder, or one of the two folders is in an object store; or `append` is of another
            schema, of an earlier version, or damaged.
        FileNotFoundError: a file is missing.
    """
    if shards < 0:
        raise ValueError(f"shards must not be negative. Received: shards={shards}.")
    if shards and append:
        raise ValueError(f"Records keep their number of shards when logs are added. Received: shards={shards}.")
    check_scheme(records)
    started, now = time.monotonic(), int(time.time())
    files = find_logs(logs, schema, some=bool(append))
    mark = _inputs(files, schema, shards, append)
    if not overwrite and is_current(records, mark):
        return Records(records)
    before = Records(append) if append else None
    with replacing(records) as folder, nullcontext(engine) if engine else local_engine() as used:
        run = _Run(files, schema, folder, used, before)
        written, found = run.make(shards, now)
        manifest = {"inputs": mark, "now": now, "seconds": 0.0, "ignored": list(files.ignored), **found}
        checksums = run.checksums | written.checksums
        write_manifest(folder, manifest, checksums)
        report = write_report(Records(str(folder)), written.sums)
        if not empty_parts:
            check_parts(report, schema, schema.tasks, PARTS, records)
        # Once more, now that the report is made: the time that all of it took.
        write_manifest(folder, manifest | {"seconds": round(time.monotonic() - started, 1)}, checksums)
    return Records(records)


def are_current(logs: str, schema: Schema, records: str, *, shards: int = 0, append: str = "") -> bool:
    """Returns whether `prepare` with these arguments would have nothing to do."""
    return is_current(records, _inputs(find_logs(logs, schema, some=bool(append)), schema, shards, append))


def summary(records: Records) -> str:
    """Returns some lines about a records folder, for a person to read."""
    manifest, schema = records.manifest, records.schema
    lines = [
        f"{records.path}: {manifest['users']:,} users in {manifest['shards']} files, made in {manifest['seconds']} s",
        "",
        f"{'file':<32}{'rows read':>14}{'kept':>14}{'dropped':>12}",
    ]
    for label, file in manifest["files"].items():
        lines.append(f"{label:<32}{file['read']:>14,}{file['kept']:>14,}{file['read'] - file['kept']:>12,}")
        for reason, dropped in file["dropped"].items():
            first = f"first: row {dropped['first_row']} of {file['file']}"
            lines.append(f"  {dropped['rows']:,} dropped: {reason} ({first})")
        lines += [f"  {note}" for note in file["notes"]]
    lines += [f"ignored, the schema names no use for it: {path}" for path in manifest["ignored"]]
    lines.append("")
    report = load_report(records.path)
    for name, count in manifest["behaviors"].items():
        first, unknown = report["groups"][name]["by_day"]["first"], manifest["unknown_rate"][name]
        lines.append(f"group {name}: {count:,} behaviors from {first} on, {unknown:.1%} with the unknown id")
    for name, shown in manifest["requests"].items():
        lines.append(
            f"task {name}: {shown['requests']:,} requests, {shown['candidates']:,} candidates, "
            f"{shown['positives']:,} of them positive"
        )
    lines += [f"entity {name}: {entity.rows:,} rows" for name, entity in schema.entities.items()]
    sizes = {name: f"{table.rows:,} rows x {table.dim}" for name, table in schema.tables.items() if table.dim}
    total = sum(table.rows * table.dim for table in schema.tables.values()) * _BYTES_PER_NUMBER
    lines.append(f"tables: {', '.join(f'{name} {size}' for name, size in sizes.items())}: {total / 2**20:,.1f} MiB")
    look = [check["look"] for check in report["checks"]]
    lines.append(f"report: {records.path}/report.html, {sum(look)} of {len(look)} checks to look at")
    return "\n".join(lines) + "\n"


def _inputs(files: LogFiles, schema: Schema, shards: int, append: str) -> str:
    """Returns a checksum of names, sizes and times of what prepare would read: good on this machine only."""
    inputs: list[Any] = [FORMAT, shards, dump_schema(schema)]
    inputs += [read_manifest(append)["fingerprint"]] if append else []
    for label, file in files.used.items():
        for part in file.parts:
            state = part.stat()
            inputs.append([label, part.name, state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


class _Run:
    """Steps of one run, and what they have found so far.

    Attributes:
        checksums: file -> SHA-256 of what was written here.
    """

    def __init__(self, files: LogFiles, schema: Schema, folder: Path, engine: Engine, before: Records | None) -> None:
        self._files, self._schema, self._folder, self._engine = files.used, schema, folder, engine
        self._before = before
        self._standing = Standing.of(before, schema) if before else None
        self._kept: dict[str, str] = {}
        self._work = folder / "staging"
        self._work.mkdir()
        self._logs: dict[str, CleanLog] = {}
        self.checksums: dict[str, str] = {}

    def make(self, shards: int, now: int) -> tuple[WrittenShards, dict[str, Any]]:
        """Writes everything but the manifest and the report, and returns what is known of the shards and what both say.

        Args:
            shards: as `prepare` has it.
            now: Unix seconds.
        """
        readers = {label: open_reader(file, self._schema, self._work / "logs") for label, file in self._files.items()}
        for label, newest in self._standing.newest.items() if self._standing else ():
            if label in readers:
                readers[label].later_than(newest)
        checks = passes.check_columns(self._engine, readers, self._work)
        self._logs = {label: clean_log(reader, checks[label]) for label, reader in readers.items()}
        by_user = {label: log for label, log in self._logs.items() if log.reader.file.kind != CATALOG}
        standing = self._standing
        shards = standing.shards if standing else shards or _number_of_shards(list(by_user.values()), self._schema)
        staging = Staging(self._work / "shards", shards)
        if USERS in self._logs and USER not in self._schema.entities:
            by_user[USERS] = self._logs[USERS]
        counts, kept = passes.count(self._engine, by_user, staging, self._schema, self._work, self._folder, standing)
        self._kept.update(kept)
        self._report(counts.dropped)
        schema, catalogs = self._write_catalogs(counts)
        written = passes.write(self._engine, staging, self._folder, schema, self._work, now, standing)
        shutil.rmtree(self._work)
        self._keep("sums.npz", lambda path: save_arrays(path, written.sums.non_zero()._asdict(), compress=True))
        dense = {owner: {name: astuple(each) for name, each in found.items()} for owner, found in counts.dense.items()}
        return written, {
            "shards": shards,
            **written.totals.as_dict(),
            "unknown_rate": written.unknown_rates(schema, catalogs),
            "files": self._reports(),
            APPEND: {"state": self._kept, "newest": counts.newest, "dense": dense, "sums": len(written.sums)},
        }

    def _keep(self, name: str, write: Callable[[str], None]) -> None:
        """Writes a file that `Standing` reads."""
        path = self._folder / STATE / name
        write(str(path))
        self._kept[f"{STATE}/{name}"] = file_checksum(str(path))

    def _write_catalogs(self, counts: Counts) -> tuple[Schema, dict[str, Catalog]]:
        """Writes vocabularies and catalogs, and returns the schema with its sizes, and the catalogs."""
        objects = {name: self._objects(name, counts) for name in self._schema.entities}
        known = self._before.vocabularies if self._before else {}
        vocabularies = build_vocabularies(self._schema, objects, counts, known)
        catalogs = build_catalogs(objects, vocabularies)
        schema = with_sizes(self._schema, objects, catalogs, vocabularies, counts)
        values = {name: text_array(vocabulary.values.to_numpy()) for name, vocabulary in vocabularies.items()}
        self.checksums = write_description(self._folder, schema, catalogs, values)
        return schema, catalogs

    def _objects(self, entity: str, counts: Counts) -> EntityObjects:
        """Returns the objects of an entity: those in the logs, and those in its catalog file."""
        label, sides = f"{CATALOG}/{entity}", None
        if label in self._logs:
            with as_error(self._logs[label].reader.file.path):
                found = self._logs[label].frame.collect(engine="streaming")
            sides, dropped = keep_first(found, ["id"], label, REPEATED_ID)
            self._report(dropped)
        own = [log for log in self._logs.values() if self._entity_of(log.reader.file) == entity]
        integers, known = all(log.integer_ids for log in own), pl.Series(dtype=pl.String)
        if self._before and self._standing:
            ids = self._before.catalogs[entity].ids
            integers, known = integers and ids.dtype.kind == "i", pl.Series(ids).cast(pl.String)
            earlier = self._standing.catalog(entity)
            if earlier is not None:
                newer = [] if sides is None else [sides]  # What the newest catalog says of an object holds.
                sides = pl.concat([*newer, earlier]).unique("id", keep="first", maintain_order=True)
        if sides is not None:
            self._keep(f"catalog-{entity}.parquet", sides.write_parquet)
        counted = counts.of_objects(entity, sides)
        return EntityObjects(self._schema.entities[entity], counted, sides, integers, known)

    def _entity_of(self, file: LogFile) -> str:
        if file.kind == CATALOG:
            return file.name
        group = file.name if file.kind == BEHAVIORS else self._schema.tasks[file.name].group
        return self._schema.groups[group].entity

    def _report(self, dropped: Iterable[Dropped]) -> None:
        for label, reason, rows, first_row in dropped:
            self._logs[label].report.drop(reason, rows, first_row)

    def _reports(self) -> dict[str, Any]:
        reports = {}
        for label, log in self._logs.items():
            report = dataclasses.asdict(log.report)
            report["dropped"] = {
                reason: {"rows": rows, "first_row": first} for reason, (rows, first) in report["dropped"].items()
            }
            reports[label] = report
        return reports


def _number_of_shards(logs: list[CleanLog], schema: Schema) -> int:
    """Returns how many shards hold these files: enough for their rows, not more than users where these are few."""
    by_size = -(-sum(log.report.kept * _row_bytes(log.reader.file, schema) for log in logs) // SHARD_BYTES)
    if by_size >= FEWEST_SHARDS:
        return by_size
    most = 0
    for log in logs:
        users: set[str] = set()
        with as_error(log.reader.file.path):
            for batch in log.frame.select("user").collect_batches():
                users.update(batch["user"].unique().head(FEWEST_SHARDS))
                most = max(most, len(users))
                if most >= FEWEST_SHARDS:
                    return FEWEST_SHARDS
    return max(by_size, most)


def _row_bytes(file: LogFile, schema: Schema) -> int:
    if file.kind != IMPRESSIONS:
        return _BYTES_PER_ROW
    context = schema.tasks[file.name].context
    values = sum(feature.max_values for feature in context.features.values())
    return _BYTES_PER_ROW + values * _BYTES_PER_VALUE + len(context.dense) * _BYTES_PER_NUMBER
