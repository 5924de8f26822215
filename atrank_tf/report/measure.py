"""Measures records: what is summed while their timelines are written, and a sample of candidates at the end.

Whoever writes a shard sums what is in it, by `add_users`; whoever has all sums makes the report of them. What is held
in memory: one chunk of timelines, counts in fixed bins, and some counts for each object.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, chunk_seed, read_chunks
from atrank_tf.data.records import Records
from atrank_tf.data.targets import Chunk, Part, find_targets, parse
from atrank_tf.files import load_json, write_json, write_text
from atrank_tf.report.candidate_measures import CHUNKS, CandidateMeasures
from atrank_tf.report.checks import checks, drift
from atrank_tf.report.page import page
from atrank_tf.report.sums import Sums
from atrank_tf.report.target_measures import TargetMeasures
from atrank_tf.report.timeline_measures import add_timelines, timeline_lengths, timelines_report
from atrank_tf.schema import Candidates, Schema
from atrank_tf.types import Tensor

PARTS = (Part.TRAINING, Part.VALIDATION, Part.TEST)
_JSON, _PAGE = "report.json", "report.html"
_MAKE_AGAIN = "Make the records again with python -m atrank_tf.prepare --overwrite."


def new_sums(schema: Schema) -> Sums:
    """Returns the sums over nobody; the schema is prepared."""
    lengths = timeline_lengths(schema)
    for measures in _targets(schema).values():
        for part in measures.values():
            lengths |= part.lengths
    return Sums(lengths)


def add_users(sums: Sums, serialized: Sequence[bytes], schema: Schema, now: int) -> None:
    """Adds the timelines of some users.

    Args:
        sums: of `new_sums`.
        serialized: the Examples of some users; about as many as a chunk has.
        schema: the schema, prepared.
        now: Unix seconds; behaviors after it are of the future.
    """
    tensors = parse(tf.constant(serialized, tf.string), schema)
    targets = {task: {part: find_targets(tensors, schema, task, part) for part in PARTS} for task in schema.tasks}
    chunk, targets = tf.nest.map_structure(np.asarray, (tensors, targets))
    add_timelines(sums, chunk, schema, now)
    for task, measures in _targets(schema).items():
        trained = np.unique(targets[task][Part.TRAINING].user)
        for part in PARTS:
            measures[part].add(sums, chunk, targets[task][part], trained)


def write_report(records: Records, sums: Sums) -> dict[str, Any]:
    """Writes `report.json` and `report.html` into a records folder, and returns the report.

    Args:
        records: the folder.
        sums: over all of its timelines.
    """
    report = measure(records, sums)
    write_json(f"{records.path}/{_JSON}", report)
    write_text(f"{records.path}/{_PAGE}", page(report))
    return report


def load_report(path: str) -> dict[str, Any]:
    """Reads the report of a records folder.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it is damaged.
    """
    if not tf.io.gfile.exists(f"{path}/{_JSON}"):
        raise FileNotFoundError(f"Expected {_JSON} in {path}. {_MAKE_AGAIN}")
    return load_json(f"{path}/{_JSON}", _MAKE_AGAIN)


def measure(records: Records, sums: Sums) -> dict[str, Any]:
    """Returns the report on a records folder, as JSON types; docs/data_report.md says what it holds.

    Args:
        records: the folder, of which some chunks are read.
        sums: over all of its timelines.
    """
    schema, targets = records.schema, _targets(records.schema)
    catalogs = {task: records.catalogs[schema.entity_of(task)] for task in schema.tasks}
    seen = {task: parts[Part.TRAINING].chosen(sums) for task, parts in targets.items()}
    sampled = [
        task
        for task, spec in schema.tasks.items()
        if spec.candidates is Candidates.SAMPLED and catalogs[task].counts.any()
    ]
    candidates = {task: CandidateMeasures(records, task, PARTS, seen[task]) for task in sampled}
    for drawing in _some_chunks(records) if sampled else ():
        for measures in candidates.values():
            measures.add(*drawing)
    report: dict[str, Any] = {
        "files": records.manifest["files"],
        **timelines_report(sums, schema, records.catalogs),
        "tasks": {},
    }
    for task, parts in targets.items():
        counts = {
            str(part): {
                **found.as_dict(sums, catalogs[task], seen[task]),
                "candidates": candidates[task].as_dict(part) if task in candidates else None,
            }
            for part, found in parts.items()
        }
        others = (str(part) for part in PARTS[1:])
        report["tasks"][task] = {
            "ties": str(schema.tasks[task].ties),
            "parts": counts,
            "drift": {other: drift(counts[str(Part.TRAINING)], counts[other]) for other in others},
        }
    return {**report, "checks": checks(report)}


def _targets(schema: Schema) -> dict[str, dict[Part, TargetMeasures]]:
    return {task: {part: TargetMeasures(schema, task, part) for part in PARTS} for task in schema.tasks}


def _some_chunks(records: Records) -> Iterator[tuple[Chunk, Tensor, Tensor]]:
    """Yields what candidates are drawn from, of the first chunks: chunk, its Examples string [U], seed int64 [2]."""
    seeds = tf.constant([EVALUATION_SEED, 0], tf.int64)
    for number, serialized in read_chunks(records, Part.TEST, seeds).take(CHUNKS):
        yield parse(serialized, records.schema), serialized, chunk_seed(seeds, number)
