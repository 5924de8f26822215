"""Paths in object stores: refused before any work where they cannot be read or written, never a local folder `gs:`."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from atrank_tf.paths import check_scheme, local_path

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = {
    "prepare": ("logs", "schema", "records", "logs_cache", "raw"),
    "train": ("records", "config", "model_dir", "warm_start"),
    "evaluate": ("records", "model_dir", "against", "truth"),
    "explain": ("records", "model_dir", "out"),
    "export": ("model_dir", "export_dir"),
    "serve": ("model_base_path", "model_config_file", "monitoring_config_file", "playground"),
    "simulate": ("logs",),
    "describe": ("logs", "output"),
}
THROUGH_TENSORFLOW = {
    "prepare": ("schema",),
    "train": COMMANDS["train"],
    "evaluate": ("records", "model_dir", "against"),
    "explain": COMMANDS["explain"],
    "export": ("model_dir",),
}
"""Flags whose paths may begin with gs://, which TensorFlow's wheel reads and writes."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_a_command_does_not_know_is_one_line_and_no_folder(command: str, run_command: Run) -> None:
    for flag in COMMANDS[command]:
        known = flag in THROUGH_TENSORFLOW.get(command, ())
        for path in ("s3://bucket/x", "hdfs://x") if known else ("s3://bucket/x", "gs://bucket/x", "file:///x"):
            given = {name: f"/nowhere/{name}" for name in COMMANDS[command]} | {flag: path}
            done = run_command("-m", f"atrank_tf.{command}", *(f"--{name}={value}" for name, value in given.items()))
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
            assert done.stderr.startswith(f"{command}: flag --{flag}={path}: Expected a path of a file system")
            assert ("or gs://" in done.stderr) == known
    assert not [name for name in ("gs:", "s3:", "hdfs:", "file:") if (Path(__file__).parents[1] / name).exists()]


def test_what_tensorflow_reads_is_taken() -> None:
    check_scheme("gs://bucket/records", stores=True)
    for path in ("records", "/records", "C:/records", "logs/a:b//c", ""):
        check_scheme(path)


def test_what_it_does_not_read_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"Expected a path of a file system\. Received: gs://b/x\. Mount the store, and"
    ):
        check_scheme("gs://b/x")
    with pytest.raises(ValueError, match=r"Expected a path of a file system, or gs://\. Received: s3://b/x\."):
        check_scheme("s3://b/x", stores=True)


def test_a_local_path_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path("logs") == tmp_path / "logs"
    assert local_path("/logs") == Path("/logs")
    with pytest.raises(ValueError, match="Received: gs://logs"):
        local_path("gs://logs")
