"""Killed at any moment, or out of disk: nothing half-written is read as whole, and the next run goes on.

In the suite prepare is killed a few times; `make test-slow` kills everything fifty times. (How a training resumes is
tested in `training/test_fit.py` too, without a kill.)
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_experiment import EXPERIMENT

import atrank_tf
from atrank_tf.data import Records
from atrank_tf.server import load
from atrank_tf.training import MODEL_FILE

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120


FIFTY = pytest.param(50, marks=pytest.mark.slow)


class Victim:
    """An operation that can be run and killed as often as one likes."""

    def __init__(self, operation: str, *arguments: Any, stderr: Path) -> None:
        self.stderr = stderr
        self._errors = stderr.open("w")
        command = [sys.executable, str(Path(__file__).with_name("victim.py")), operation, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment, text=True
        )
        assert self._line() == "ready"

    def start(self, disk: str = "") -> int:
        """Begins one run; returns its process id."""
        self._process.stdin.write(f"{disk}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return int(self._line())

    def wait(self) -> int:
        """Waits for the end of a run; returns its exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(int(self._line()))

    def run(self, disk: str = "") -> int:
        self.start(disk)
        return self.wait()

    def killed(self, seconds: float) -> bool:
        """Runs, and kills after some seconds; returns whether the run was still going on."""
        timer = threading.Timer(seconds, os.kill, (self.start(), signal.SIGKILL))
        timer.start()
        code = self.wait()
        timer.cancel()
        assert code in (0, -signal.SIGKILL), self.stderr.read_text()
        return code != 0

    def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.stdout.close()  # type: ignore[union-attr]
        self._process.wait(PATIENCE_S)
        self._errors.close()

    def _line(self) -> str:
        line = self._process.stdout.readline().strip()  # type: ignore[union-attr]
        assert line, self.stderr.read_text()
        return line


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Callable[..., Victim]]:
    every = []

    def make(operation: str, *arguments: Any) -> Victim:
        every.append(Victim(operation, *arguments, stderr=tmp_path / f"stderr-{len(every)}"))
        return every[-1]

    yield make
    for one in every:
        one.close()


def moments(kills: int, longest: float, seed: int) -> list[float]:
    """Random moments within a run and a little after its end."""
    return (np.random.default_rng(seed).random(kills) * 1.05 * longest).tolist()


def seconds_of(run: Callable[[], int]) -> float:
    started = time.monotonic()
    assert run() == 0
    return time.monotonic() - started


def digests(folder: Path) -> dict[str, str]:
    """What is in a records folder; the manifest and the report tell times, and are left out."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".html")]
    assert len(files) > 5
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("kills", [4, FIFTY])
def test_records_are_whole_or_those_of_before(
    logs: Path, schema_file: Path, tmp_path: Path, victim: Callable[..., Victim], kills: int
) -> None:
    folder = tmp_path / "here"
    prepare = victim("prepare", logs, schema_file, folder / "records")
    longest = seconds_of(prepare.run)
    expected = digests(folder / "records")
    hits = 0
    for moment in moments(kills, longest, seed=1):
        hits += prepare.killed(moment)
        assert digests(folder / "records") == expected
        assert Records(str(folder / "records")).manifest
    assert hits
    assert prepare.run() == 0
    assert [path.name for path in folder.iterdir()] == ["records"]
    assert digests(folder / "records") == expected


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "experiment.toml"
    path.write_text(EXPERIMENT)
    return path


def weights(model_dir: Path) -> list[np.ndarray]:
    return [weight.numpy() for weight in atrank_tf.load(str(model_dir)).weights]


@pytest.fixture(scope="module")
def trained(records: Records, experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A model folder, and how many seconds its training took."""
    folder = tmp_path_factory.mktemp("trained")
    train = Victim("train", records.path, experiment, folder / "model", stderr=folder / "stderr")
    seconds = seconds_of(train.run)
    train.close()
    return folder / "model", seconds


@pytest.mark.parametrize("kills", [FIFTY])
def test_a_training_killed_again_and_again_ends_with_the_same_weights(
    records: Records,
    experiment: Path,
    trained: tuple[Path, float],
    tmp_path: Path,
    victim: Callable[..., Victim],
    kills: int,
) -> None:
    expected, longest = weights(trained[0]), trained[1]
    random = np.random.default_rng(4)
    left, number = kills, 0
    while left:
        folder = tmp_path / f"model-{number}"
        train, number = victim("train", records.path, experiment, folder), number + 1
        going_on = True
        while going_on:  # Until it ends, or all kills are done.
            going_on = train.killed(random.random() * longest if left else 10 * PATIENCE_S)
            left -= going_on
            if (folder / MODEL_FILE).exists():
                assert len(weights(folder)) == len(expected)
        train.close()  # Each holds TensorFlow, and there may be as many as kills.
        for one, other in zip(weights(folder), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        names = {path.name for path in folder.iterdir()}
        assert names == {path.name for path in trained[0].iterdir()}


@pytest.mark.parametrize("kills", [FIFTY])
def test_every_version_of_an_export_can_be_served(
    trained: tuple[Path, float], tmp_path: Path, victim: Callable[..., Victim], kills: int
) -> None:
    folder = tmp_path / "export"
    export = victim("export", trained[0], folder)
    longest = seconds_of(export.run)
    hits = 0
    for moment in moments(kills, longest, seed=2):
        hits += export.killed(moment)
        for version in folder.iterdir():
            if version.name.isdecimal():
                load(str(version)).close()
    assert hits > kills / 4
    assert export.run() == 0
    assert all(path.name.isdecimal() for path in folder.iterdir())


@pytest.mark.parametrize("kills", [FIFTY])
def test_a_killed_server_starts_again_on_its_port(
    trained: tuple[Path, float], tmp_path: Path, victim: Callable[..., Victim], kills: int
) -> None:
    assert victim("export", trained[0], tmp_path / "export").run() == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = victim("serve", tmp_path / "export", port)

    def answer() -> Any:
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/m", timeout=PATIENCE_S) as found:
                    return json.load(found)
            except OSError:
                assert time.monotonic() < give_up, server.stderr.read_text()
                time.sleep(0.02)

    for moment in moments(kills, 2.0, seed=3):
        assert server.killed(moment)
        child = server.start()
        assert answer()["model_version_status"][0]["state"] == "AVAILABLE"
        os.kill(child, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "operation", ["prepare", *(pytest.param(name, marks=pytest.mark.slow) for name in ("train", "export"))]
)
def test_a_full_disk_is_told_and_leaves_nothing_that_looks_whole(
    logs: Path,
    schema_file: Path,
    records: Records,
    experiment: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    victim: Callable[..., Victim],
    operation: str,
) -> None:
    folder, arguments = tmp_path / "folder", (logs, schema_file)
    if operation == "train":
        arguments = (records.path, experiment)
    elif operation == "export":
        arguments = request.getfixturevalue("trained")[:1]
    arguments = (*arguments, folder)
    it = victim(operation, *arguments)
    assert it.run("full") == 1
    last = it.stderr.read_text().rstrip().splitlines()[-1]
    assert last.startswith("OSError: ") and "File too large" in last, it.stderr.read_text()
    if operation == "prepare":
        assert not folder.exists() and not [path for path in tmp_path.iterdir() if "partial" in path.name]
    elif operation == "train":
        assert not (folder / MODEL_FILE).exists()
    else:
        assert list(folder.iterdir()) == []
    assert it.run() == 0
