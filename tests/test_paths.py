"""Paths in stores: refused before any work where they cannot be read or written, never a local folder `gs:`."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from atrank_tf.paths import check_scheme, in_store, local_path

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = {
    "prepare": ("logs", "schema", "records", "append", "logs_cache", "raw"),
    "train": ("records", "config", "model_dir", "warm_start"),
    "evaluate": ("records", "model_dir", "against", "truth", "scores"),
    "explain": ("records", "model_dir", "out"),
    "export": ("model_dir", "export_dir"),
    "serve": ("model_base_path", "playground_records", "model_config_file", "monitoring_config_file", "playground"),
    "simulate": ("logs",),
    "describe": ("logs", "output"),
}
HERE = {"logs_cache", "raw", "model_config_file", "monitoring_config_file", "playground"}
"""Flags whose paths are of this machine."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_a_command_does_not_know_is_one_line_and_no_folder(command: str, run_command: Run) -> None:
    for flag in COMMANDS[command]:
        known = flag not in HERE and command != "simulate"
        for path in ("hdfs://x", "az://bucket/x") if known else ("s3://bucket/x", "gs://bucket/x", "file:///x"):
            given = {name: f"/nowhere/{name}" for name in COMMANDS[command]} | {flag: path}
            done = run_command("-m", f"atrank_tf.{command}", *(f"--{name}={value}" for name, value in given.items()))
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
            assert done.stderr.startswith(f"{command}: flag --{flag}={path}: Expected a path of a file system")
            assert (", s3:// or gs://. Received" in done.stderr) == known
    assert not [name for name in ("gs:", "s3:", "hdfs:", "az:", "file:") if (Path(__file__).parents[1] / name).exists()]


def test_what_is_known_is_taken() -> None:
    for store in ("s3://bucket/records", "gs://bucket/records"):
        check_scheme(store, stores=True)
        assert in_store(store)
    for path in ("records", "/records", "C:/records", "logs/a:b//c", ""):
        check_scheme(path)
        assert not in_store(path)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"Expected a path of a file system\. Received: gs://b/x\. Mount the store, and"
    ):
        check_scheme("gs://b/x")
    with pytest.raises(ValueError, match=r"Expected a path of a file system, s3:// or gs://\. Received: az://b/x\."):
        check_scheme("az://b/x", stores=True)
    assert not in_store("az://b/x")


def test_a_local_path_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path("logs") == tmp_path / "logs"
    assert local_path("/logs") == Path("/logs")
    with pytest.raises(ValueError, match="Received: gs://logs"):
        local_path("gs://logs")
