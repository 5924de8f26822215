"""What an engine may count on, wherever its workers are."""

import importlib
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atrank_tf.preparation import prepare
from atrank_tf.preparation.engine import LocalEngine
from atrank_tf.preparation.staging import Staging
from atrank_tf.report import load_report
from atrank_tf.schema import load_schema


class Elsewhere(LocalEngine):
    """An engine whose workers have another working directory."""

    def check_columns(self, *arguments: Any) -> Any:
        return _in_the_root(super().check_columns, *arguments)

    def count(self, *arguments: Any) -> Any:
        return _in_the_root(super().count, *arguments)

    def write(self, *arguments: Any) -> Any:
        return _in_the_root(super().write, *arguments)


def _in_the_root(step: Callable[..., Any], *arguments: Any) -> Any:
    with chdir("/"):
        return step(*arguments)


def test_relative_paths_mean_the_same_in_every_working_directory(
    logs: Path, schema_file: Path, records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").symlink_to(logs)
    monkeypatch.chdir(tmp_path)
    made = prepare("logs", load_schema(str(schema_file)), "records", engine=Elsewhere())
    assert made.path == "records"
    assert made.manifest["checksums"] == records.manifest["checksums"]


class Forgetful(LocalEngine):
    """An engine behind which the timelines are gone."""

    def write(self, staging: Staging, folder: Path, *arguments: Any) -> Any:
        written = super().write(staging, folder, *arguments)
        for path in folder.glob("*.tfrecord"):
            path.write_bytes(b"")
        return written


def test_behind_the_engine_nobody_reads_all_timelines(logs: Path, schema_file: Path, tmp_path: Path) -> None:
    """But for the candidates of some users, where a task has sampled ones; here none has."""
    schema = load_schema(str(schema_file))
    schema = replace(schema, tasks={"next_redemption": schema.tasks["next_redemption"]})
    expected = prepare(str(logs), schema, str(tmp_path / "expected"))
    found = prepare(str(logs), schema, str(tmp_path / "found"), engine=Forgetful())
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
