"""What a command makes of errors: one line for what a person can do something about, a traceback for a bug."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("kind", ["FailedPreconditionError", "UnavailableError", "AbortedError"])
def test_what_a_store_says_is_one_line(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> None:
        message = "All 10 retry attempts failed. libcurl code 6, could not resolve host\n\t when reading gs://b/x.npz"
        raise getattr(tf.errors, kind)(None, None, message)

    assert told(read, capsys) == (
        "train: Expected a store that answers, for gs://b/x.npz. All 10 retry attempts failed. libcurl code 6, could "
        "not resolve host when reading gs://b/x.npz. Run the same command again when it does.\n"
    )


def test_what_a_kernel_refuses_is_a_bug_and_keeps_its_traceback() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        command._guarded(lambda: tf.matmul(tf.zeros([1, 2]), tf.zeros([1, 2])), ["train"])


def test_more_is_shown_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "get_verbosity", lambda: logging.DEBUG)
    with pytest.raises(tf.errors.NotFoundError):
        command._guarded(lambda: tf.io.gfile.makedirs("/proc/nobody/model"), ["train"])
