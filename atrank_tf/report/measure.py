"""Measures finished records in two passes: timelines, then targets.

What is held in memory: one chunk of timelines, counts in fixed bins, and a count for each object. So it does not grow
with the users, whoever wrote the records.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.data.chunk_reading import EVALUATION_SEED, chunk_seed, read_chunks
from atrank_tf.data.records import Records
from atrank_tf.data.targets import Chunk, Part, Targets, find_targets, parse
from atrank_tf.files import load_json, write_json, write_text
from atrank_tf.report.candidate_measures import CandidateMeasures
from atrank_tf.report.checks import checks, drift
from atrank_tf.report.page import page
from atrank_tf.report.target_measures import TargetMeasures, positives
from atrank_tf.report.timeline_measures import TimelineMeasures
from atrank_tf.schema import Candidates
from atrank_tf.types import Tensor

PARTS = (Part.TRAINING, Part.VALIDATION, Part.TEST)
_JSON, _PAGE = "report.json", "report.html"
_MAKE_AGAIN = "Make the records again with python -m atrank_tf.prepare --overwrite."


def write_report(path: str) -> None:
    """Measures what is in a records folder; writes `report.json` and `report.html` into it."""
    report = measure(Records(path), now=int(time.time()))
    write_json(f"{path}/{_JSON}", report)
    write_text(f"{path}/{_PAGE}", page(report))


def load_report(path: str) -> dict[str, Any]:
    """Reads the report of a records folder.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it is damaged.
    """
    if not tf.io.gfile.exists(f"{path}/{_JSON}"):
        raise FileNotFoundError(f"Expected {_JSON} in {path}. {_MAKE_AGAIN}")
    return load_json(f"{path}/{_JSON}", _MAKE_AGAIN)


def measure(records: Records, now: int) -> dict[str, Any]:
    """Returns the report on a records folder, as JSON types; docs/data_report.md says what it holds.

    Args:
        records: the folder.
        now: Unix seconds; behaviors after it are of the future.
    """
    schema = records.schema
    catalogs = {task: records.catalogs[schema.groups[spec.group].entity] for task, spec in schema.tasks.items()}
    seen = {task: np.zeros(len(catalog), np.int64) for task, catalog in catalogs.items()}
    timelines = TimelineMeasures(schema, records.catalogs, now)
    for chunk, targets, _ in _chunks(records, (Part.TRAINING,)):
        timelines.add(chunk)
        for task, found in targets.items():
            seen[task] += np.bincount(positives(chunk, found[Part.TRAINING], schema, task), minlength=len(seen[task]))
    measures = {
        task: {part: TargetMeasures(schema, catalogs[task], task, part, seen[task]) for part in PARTS}
        for task in schema.tasks
    }
    sampled = [
        task
        for task, spec in schema.tasks.items()
        if spec.candidates is Candidates.SAMPLED and catalogs[task].counts.any()
    ]
    candidates = {task: CandidateMeasures(records, task, PARTS, seen[task]) for task in sampled}
    for chunk, targets, drawing in _chunks(records, PARTS):
        for task in sampled:
            candidates[task].add(*drawing)
        for task, found in targets.items():
            trained = np.unique(found[Part.TRAINING].user)
            for part in PARTS:
                measures[task][part].add(chunk, found[part], trained)
    report: dict[str, Any] = {"files": records.manifest["files"], **timelines.as_dict(), "tasks": {}}
    for task, parts in measures.items():
        counts = {
            str(part): {
                **found.as_dict(),
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


def _chunks(
    records: Records, parts: tuple[Part, ...]
) -> Iterator[tuple[Chunk, dict[str, dict[Part, Targets]], tuple[Chunk, Tensor, Tensor]]]:
    """Yields each chunk and its targets, task -> part -> targets, as NumPy arrays; and what to draw candidates from.

    That is the chunk as tensors, the serialized Examples (string [U]) and the seed (int64 [2]).
    """
    schema, seeds = records.schema, tf.constant([EVALUATION_SEED, 0], tf.int64)
    for number, serialized in read_chunks(records, Part.TEST, seeds):
        chunk = parse(serialized, schema)
        targets = {task: {part: find_targets(chunk, schema, task, part) for part in parts} for task in schema.tasks}
        drawing = chunk, serialized, chunk_seed(seeds, number)
        yield (*tf.nest.map_structure(np.asarray, (chunk, targets)), drawing)
