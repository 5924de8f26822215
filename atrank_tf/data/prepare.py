"""Logs -> records on one machine, for logs of any size.

What is held in memory: the catalogs, the vocabularies and one shard of the timelines. The rows stream from the logs to
temporary Parquet files divided by user, and from there, shard by shard, to the records.
"""

import dataclasses
import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import tensorflow as tf
from tqdm import tqdm

from atrank_tf.data.catalog import Catalog, build_catalog, order_objects
from atrank_tf.data.cleaning import REPEATED_ID, CleanLog, clean_behaviors, clean_catalog, clean_impressions
from atrank_tf.data.counting import Counts, keep_first, table_counts
from atrank_tf.data.logs import (
    BEHAVIORS,
    CATALOG,
    IMPRESSIONS,
    USER,
    USER_ID,
    LogFile,
    LogFiles,
    catalog_profile,
    find_logs,
)
from atrank_tf.data.moments import Moments, with_moments
from atrank_tf.data.records import FORMAT, Records, is_current, replacing, shard_name, write_description, write_manifest
from atrank_tf.data.report import write_report
from atrank_tf.data.shard_timelines import ShardTimelines
from atrank_tf.data.staging import Staging
from atrank_tf.data.totals import Totals
from atrank_tf.data.vocabulary import Vocabulary, build_vocabulary
from atrank_tf.schema import Entity, Schema, dump_schema

SHARD_BYTES = 64 << 20
"""About the largest size of a shard."""
FEWEST_SHARDS = 8
"""So that reading can be parallel and shuffled even where the data is small."""
_BYTES_PER_ROW = 12
"""What a behavior or a shown candidate takes in the records, about."""


def prepare(logs: str, schema: Schema, records: str, *, shards: int = 0, overwrite: bool = False) -> Records:
    """Reads a logs folder and writes a records folder; does nothing if the records are current.

    The records appear whole or not at all, and take the place of older ones only then.

    Args:
        logs: the logs folder, as `atrank_tf.data.logs` says.
        schema: what the logs hold.
        records: the records folder.
        shards: number of TFRecord files; 0 means files of at most about 64 MB, and 8 at least.
        overwrite: write the records even if they are current.

    Raises:
        ValueError: a file is refused (see `atrank_tf.data.logs`), or `records` is some other folder.
        FileNotFoundError: a file is missing.
    """
    if shards < 0:
        raise ValueError(f"shards must not be negative. Received: shards={shards}.")
    started = time.monotonic()
    files = find_logs(logs, schema)
    mark = _inputs(files, schema, shards)
    if not overwrite and is_current(records, mark):
        return Records(records)
    with replacing(records) as folder:
        engine = _Engine(files, schema, folder, shards)
        engine.run()
        seconds = round(time.monotonic() - started, 1)
        engine.describe({"inputs": mark, "seconds": seconds, "ignored": list(files.ignored)})
        write_report(str(folder))
    return Records(records)


def are_current(logs: str, schema: Schema, records: str, *, shards: int = 0) -> bool:
    """Returns whether `prepare` with these arguments would have nothing to do."""
    return is_current(records, _inputs(find_logs(logs, schema), schema, shards))


def _inputs(files: LogFiles, schema: Schema, shards: int) -> str:
    """Returns a mark of what prepare would read, found without reading it: good on this machine only."""
    facts: list[Any] = [FORMAT, shards, dump_schema(schema)]
    for label, file in files.used.items():
        state = file.path.stat()
        facts.append([label, file.path.name, state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class _Engine:
    """One run: cleans, stages, counts, looks up and writes."""

    def __init__(self, files: LogFiles, schema: Schema, folder: Path, shards: int) -> None:
        self._files, self._schema, self._folder, self._shards = files.used, schema, folder, shards
        self._work = folder / "staging"
        self._clean: dict[str, CleanLog] = {}
        self._counts = Counts(schema.split)
        self._catalogs: dict[str, Catalog] = {}
        self._vocabularies: dict[str, Vocabulary] = {}
        self._totals: dict[str, Any] = {}

    def run(self) -> None:
        for label, file in tqdm(self._files.items(), "cleaning", unit="file", disable=None):
            self._clean[label] = self._cleaned(file)
        staging = self._staged()
        self._count(staging)
        self._look_up()
        self._write(staging)
        shutil.rmtree(self._work)

    def describe(self, facts: dict[str, Any]) -> None:
        reports = {}
        for label, clean in self._clean.items():
            report = dataclasses.asdict(clean.report)
            report["dropped"] = {
                reason: {"rows": rows, "first_row": first} for reason, (rows, first) in report["dropped"].items()
            }
            reports[label] = report
        values = {name: vocabulary.values.to_numpy().astype("U") for name, vocabulary in self._vocabularies.items()}
        manifest = {**facts, "shards": self._shards, **self._totals, "files": reports}
        write_description(self._folder, self._schema, self._catalogs, values)
        write_manifest(self._folder, manifest)

    def _cleaned(self, file: LogFile) -> CleanLog:
        schema, copies = self._schema, self._work / "logs"
        if file.kind == BEHAVIORS:
            group = schema.groups[file.name]
            return clean_behaviors(file, group, schema.entities[group.entity], copies)
        if file.kind == IMPRESSIONS:
            task = schema.tasks[file.name]
            return clean_impressions(file, task, schema.entities[schema.groups[task.group].entity], copies)
        if file.label == _USERS and file.name not in schema.entities:
            return clean_catalog(file, catalog_profile(schema), USER_ID, copies)
        entity = schema.entities[file.name]
        return clean_catalog(file, entity, entity.id.column, copies)

    def _staged(self) -> Staging:
        by_user = {label: clean.frame for label, clean in self._clean.items() if clean.file.kind != CATALOG}
        if not self._shards:
            rows = sum(self._clean[label].report.kept for label in by_user)
            users = max(_distinct_users(frame) for frame in by_user.values())
            self._shards = max(-(-rows * _BYTES_PER_ROW // SHARD_BYTES), min(users, FEWEST_SHARDS))
        if _USERS in self._clean and USER not in self._schema.entities:
            by_user[_USERS] = self._clean[_USERS].frame.rename({"id": "user"})
        staging = Staging(self._work / "shards", self._shards)
        for label, frame in tqdm(by_user.items(), "dividing by user", unit="file", disable=None):
            staging.write(label, frame)
        return staging

    def _count(self, staging: Staging) -> None:
        schema = self._schema
        for shard in tqdm(range(self._shards), "counting", unit="shard", disable=None):
            for label, clean in self._clean.items():
                name = clean.file.name
                if clean.file.kind == BEHAVIORS:
                    self._counts.behaviors(staging, label, shard, schema.groups[name].entity, clean.report)
                elif clean.file.kind == IMPRESSIONS:
                    task = schema.tasks[name]
                    entity = schema.groups[task.group].entity
                    self._counts.impressions(staging, label, shard, entity, task.context, name, clean.report)
                elif label == _USERS and name not in schema.entities:
                    self._counts.profiles(staging, label, shard, catalog_profile(schema), clean.report)
            if USER_ID in schema.user.features:
                sources = [label for label, clean in self._clean.items() if clean.file.kind != CATALOG]
                self._counts.users(staging, sources, shard, schema.user.features[USER_ID].table)

    def _look_up(self) -> None:
        """Builds vocabularies and catalogs, and fills the sizes into the schema."""
        schema = self._schema
        known: dict[str, tuple[Entity, pl.DataFrame, pl.DataFrame | None]] = {}
        for name, entity in schema.entities.items():
            clean = self._clean.get(f"{CATALOG}/{name}")
            sides = None
            if clean:
                sides = keep_first(clean.frame.collect(engine="streaming"), ["id"], REPEATED_ID, clean.report)
            known[name] = (entity, self._counts.of_objects(name, sides), sides)
        for name, table in schema.tables.items():
            self._vocabularies[name] = build_vocabulary(table_counts(name, known, self._counts), table.min_count)
        entities = {}
        for name, (entity, objects, sides) in known.items():
            integers = all(clean.integer_ids for clean in self._clean.values() if self._entity_of(clean.file) == name)
            ordered = order_objects(objects, integers=integers)
            self._catalogs[name] = build_catalog(ordered, sides, entity, self._vocabularies, integers=integers)
            moments = {c: Moments() if sides is None else Moments().add(sides[f"dense/{c}"]) for c in entity.dense}
            entities[name] = replace(
                entity,
                id=replace(entity.id, dtype="int64" if integers else "string"),
                rows=len(self._catalogs[name]),
                dense=with_moments(entity.dense, moments),
            )
        user = replace(schema.user, dense=with_moments(schema.user.dense, self._counts.moments["user"]))
        tasks = {
            name: replace(
                task,
                context=replace(task.context, dense=with_moments(task.context.dense, self._counts.moments[name])),
            )
            for name, task in schema.tasks.items()
        }
        tables = {name: replace(table, rows=len(self._vocabularies[name])) for name, table in schema.tables.items()}
        self._schema = replace(schema, tables=tables, entities=entities, user=user, tasks=tasks)

    def _entity_of(self, file: LogFile) -> str:
        if file.kind == CATALOG:
            return file.name
        group = file.name if file.kind == BEHAVIORS else self._schema.tasks[file.name].group
        return self._schema.groups[group].entity

    def _write(self, staging: Staging) -> None:
        objects = {name: Vocabulary(pl.Series(catalog.ids)) for name, catalog in self._catalogs.items()}
        totals = Totals(self._schema, self._catalogs)
        progress = tqdm(desc="writing", unit="user", disable=None)
        for shard in range(self._shards):
            timelines = ShardTimelines(staging, shard, self._schema, objects, self._vocabularies)
            with tf.io.TFRecordWriter(str(self._folder / shard_name(shard, self._shards))) as writer:
                for example in timelines:
                    writer.write(example.SerializeToString(deterministic=True))
                    progress.update()
            totals.add(timelines)
        progress.close()
        self._totals = totals.as_dict()


_USERS = f"{CATALOG}/{USER}"


def _distinct_users(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.col("user").approx_n_unique()).collect(engine="streaming").item())
