"""What a command makes of errors: one line for what a person can do something about, a traceback for a bug."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import tensorflow as tf
from absl import logging

from atrank_tf import command


def told(main: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> str:
    """Runs as a command does, and returns the one line that it prints."""
    with pytest.raises(SystemExit) as stopped:
        command._guarded(main, ["somewhere/train.py"])
    assert stopped.value.code == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    return shown.err


def read_a_damaged_file(path: Path) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"timeline")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    for _ in tf.data.TFRecordDataset(str(path)):
        pass


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda file: tf.io.gfile.makedirs(f"{file}/model"),
            "a folder that can be written: {file} is not a directory.",
        ),
        (
            lambda file: tf.io.gfile.GFile(f"{file}/x.json", "w").write("x"),
            "a file or folder that can be read and written: {file}/x.json. Not a directory.",
        ),
        (
            lambda file: tf.io.gfile.makedirs("/proc/nobody/model"),
            "a file or folder that can be read and written: /proc/nobody. No such file or directory.",
        ),
        (
            lambda file: tf.io.gfile.GFile(str(file.parent)).read(),
            "a file or folder that can be read and written: {file.parent}. Is a directory.",
        ),
    ],
)
def test_what_tensorflow_says_of_files_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], call: Callable[[Path], Any], line: str
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    expected = line.format(file=file)
    assert told(lambda: call(file), capsys) == f"train: Expected {expected}\n"


def test_a_record_that_is_damaged_while_it_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = told(lambda: read_a_damaged_file(tmp_path / "x.tfrecord"), capsys)
    assert line.startswith(
        "train: A TFRecord file was damaged while it was read (corrupted record at 12). Run the same"
    )


def test_what_cannot_be_written_to_its_store_is_kept(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command.tempfile, "tempdir", str(tmp_path))
    copies = []
    for name, changes in {"records": {}, "logs": {"writes": False}, "model": {"needed": False}}.items():
        (path := tmp_path / f"copy/{name}").mkdir(parents=True)
        lost = Mock(side_effect=ConnectionError(f"{name}: lost."))
        copies.append((command._InStore(flag=None, **changes), Mock(path=path, url=f"s3://b/{name}", put=lost)))
    monkeypatch.setattr(command, "_copies", [copies[1], copies[2]])  # Of these none must be written.
    command._guarded(lambda: None, ["train"])
    assert caplog.messages == ["model: lost."]
    monkeypatch.setattr(command, "_copies", copies)
    said = told(lambda: None, capsys)
    (kept,) = tmp_path.glob("atrank_tf-kept-*")
    assert said == f"train: records: lost. What was to be written there is kept in {kept}.\n"
    assert {path.name for path in kept.iterdir()} == {"records", "model"}


def test_what_a_command_says_has_the_names_of_the_store(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_copies", [(None, Mock(path=Path("/tmp/x/s3/b/records"), url="s3://b/records"))])

    def fail() -> None:
        raise ValueError("/tmp/x/s3/b/records/a.npz is damaged.")

    assert told(fail, capsys) == "train: s3://b/records/a.npz is damaged.\n"
    command._Named(sys.stdout).write("/tmp/x/s3/b/records trained")
    assert capsys.readouterr().out == "s3://b/records trained"
    record = logging.logging.LogRecord("absl", 30, "x", 1, "%s is old", ("/tmp/x/s3/b/records",), None)
    assert command._name_in_log(record) and record.getMessage() == "s3://b/records is old"


def test_what_a_kernel_refuses_is_a_bug_and_keeps_its_traceback() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        command._guarded(lambda: tf.matmul(tf.zeros([1, 2]), tf.zeros([1, 2])), ["train"])


def test_more_is_shown_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "get_verbosity", lambda: logging.DEBUG)
    with pytest.raises(tf.errors.NotFoundError):
        command._guarded(lambda: tf.io.gfile.makedirs("/proc/nobody/model"), ["train"])
