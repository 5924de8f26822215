"""What an engine may count on, wherever its workers are."""

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from atrank_tf.preparation import prepare
from atrank_tf.preparation.engine import LocalEngine
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
