"""What an engine may count on, wherever its workers are."""

import importlib
from collections.abc import Callable, Generator, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atrank_tf.preparation import prepare
from atrank_tf.preparation.shard_writer import WrittenShard
from atrank_tf.report import load_report
from atrank_tf.schema import load_schema


def elsewhere(function: Callable[[Any], Any], items: Sequence[Any], shared: Path) -> Generator[Any, None, None]:
    """An engine whose workers have another working directory."""
    for item in items:
        with chdir("/"):
            found = function(item)
        yield found


def test_relative_paths_mean_the_same_in_every_working_directory(
    logs: Path, schema_file: Path, records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").symlink_to(logs)
    monkeypatch.chdir(tmp_path)
    made = prepare("logs", load_schema(str(schema_file)), "records", engine=elsewhere)
    assert made.path == "records"
    assert made.manifest["checksums"] == records.manifest["checksums"]


def forgetful(function: Callable[[Any], Any], items: Sequence[Any], shared: Path) -> Generator[Any, None, None]:
    """An engine behind which the timelines are gone."""
    for item in items:
        found = function(item)
        if isinstance(found, WrittenShard):
            (shared.parent / found.name).write_bytes(b"")
        yield found


def test_behind_the_engine_nobody_reads_all_timelines(logs: Path, schema_file: Path, tmp_path: Path) -> None:
    """But for the candidates of some users, where a task has sampled ones; here none has."""
    schema = load_schema(str(schema_file))
    schema = replace(schema, tasks={"next_redemption": schema.tasks["next_redemption"]})
    expected = prepare(str(logs), schema, str(tmp_path / "expected"))
    found = prepare(str(logs), schema, str(tmp_path / "found"), engine=forgetful)
    assert all(not path.stat().st_size for path in Path(found.path).glob("*.tfrecord"))
    assert found.manifest["checksums"] == expected.manifest["checksums"]
    assert load_report(found.path) == load_report(expected.path)


def test_the_seconds_of_the_manifest_are_those_of_the_report_too(
    logs: Path, schema_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(time=lambda: 0, monotonic=lambda: clock.now, now=0.0)
    module = importlib.import_module("atrank_tf.preparation.make_records")
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "write_report", lambda *_: setattr(clock, "now", 1000.0))
    records = prepare(str(logs), load_schema(str(schema_file)), str(tmp_path / "records"), empty_parts=True)
    assert records.manifest["seconds"] == 1000.0
