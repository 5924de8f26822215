"""The whole way through buckets: logs -> records -> model -> metrics -> SavedModel -> server; killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_stores import FakeStore
from small_experiment import EXPERIMENT

import atrank_tf
from atrank_tf.stores import StoreCopy, local_copy, stored_files

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def shop(bucket: str, logs: Path, schema_file: Path, tmp_path: Path) -> str:
    """A bucket with logs, a schema and an experiment."""
    copy = StoreCopy(bucket, tmp_path)
    (copy.path / "logs").parent.mkdir(exist_ok=True)
    for path in logs.rglob("*.*"):
        place = copy.path / "logs" / path.relative_to(logs)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    (copy.path / "schema.toml").write_text(schema_file.read_text())
    (copy.path / "experiment.toml").write_text(EXPERIMENT)
    copy.put()
    return bucket


def of(shop: str, stores: Callable[[str], FakeStore]) -> dict[str, str]:
    return stores(shop[:2]).environment


def prepared(shop: str) -> tuple[str, ...]:
    places = (f"--logs={shop}/logs", f"--schema={shop}/schema.toml", f"--records={shop}/records")
    return ("-m", "atrank_tf.prepare", *places)


def trained(shop: str, model: str = "model") -> tuple[str, ...]:
    files = (f"--records={shop}/records", f"--config={shop}/experiment.toml", f"--model_dir={shop}/{model}")
    return ("-m", "atrank_tf.train", *files)


@pytest.mark.parametrize("bucket", ["gs", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)
def test_records_of_a_bucket_are_those_of_a_folder(
    shop: str, stores: Callable[[str], FakeStore], run_command: Run, records: Any
) -> None:
    done = run_command(*prepared(shop), **of(shop, stores))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{shop}/records: 60 users in 8 files")
    with local_copy(f"{shop}/records") as path:
        found = atrank_tf.Records(path)
        found.verify()
    assert found.manifest["fingerprint"] == records.manifest["fingerprint"]
    again = run_command(*prepared(shop), **of(shop, stores))
    assert again.stdout == f"{shop}/records is current: same logs, same schema\n"
    other = run_command(*prepared(shop)[:-1], f"--records={shop}/logs", **of(shop, stores))
    assert other.stderr.strip().split("\n")[-1] == (
        f"prepare: Expected a records folder, or nothing, at {shop}/logs. Found something else; it is left alone."
    )


@pytest.mark.slow
def test_the_whole_way(shop: str, stores: Callable[[str], FakeStore], run_command: Run, tmp_path: Path) -> None:
    def run(command: str, *flags: str) -> str:
        done = run_command("-m", f"atrank_tf.{command}", *flags, **of(shop, stores))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"{shop}/described/schema.toml and" in run("describe", f"--logs={shop}/logs", f"--output={shop}/described")
    assert set(stored_files(f"{shop}/described")) == {"schema.toml", "experiment.toml"}
    run("prepare", *prepared(shop)[2:])
    run("train", *trained(shop)[2:])
    given = (f"--records={shop}/records", f"--model_dir={shop}/model")
    shown = run("evaluate", *given, f"--scores={shop}/scores.parquet", "--against=")
    assert f"page: {shop}/model/evaluation.html\n" in shown
    assert "" in stored_files(f"{shop}/scores.parquet")
    with local_copy(f"{shop}/model") as folder:
        assert f"atrank of {shop}/model, validation" in Path(folder, "evaluation.html").read_text()
    run("evaluate", *given, f"--against={shop}/scores.parquet")
    assert run("explain", *given, f"--out={shop}/page", "--users=1").endswith(f"{shop}/page/index.html\n")
    assert "index.html" in stored_files(f"{shop}/page")
    export = (f"--model_dir={shop}/model", f"--export_dir={shop}/export")
    assert run("export", *export) == f"{shop}/export/1\n"
    assert run("export", *export) == f"{shop}/export/2\n"
    command = [sys.executable, "-m", "atrank_tf.serve", f"--model_base_path={shop}/export", "--rest_api_port=0"]
    with (tmp_path / "log").open("wb") as log:
        served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        ready = served.stdout.readline()  # type: ignore[union-attr]
        assert ready.startswith("Ready: "), (tmp_path / "log").read_text()
        url = ready.removeprefix("Ready: ").strip()

        def versions() -> list[str]:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                found = json.load(answer)["model_version_status"]
            return [status["version"] for status in found if status["state"] == "AVAILABLE"]

        assert versions() == ["2"]
        run("export", *export)
        give_up = time.monotonic() + PATIENCE_S
        while versions() != ["3"]:
            assert time.monotonic() < give_up, (tmp_path / "log").read_text()
            time.sleep(0.1)
    finally:
        served.send_signal(signal.SIGTERM)
        served.communicate()


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_elsewhere(
    shop: str, stores: Callable[[str], FakeStore], run_command: Run, tmp_path: Path
) -> None:
    """All that the next machine has is the bucket: and the weights are those of a training that was never killed."""
    run_command(*prepared(shop), **of(shop, stores))
    whole = run_command(*trained(shop, "never-killed"), **of(shop, stores))
    assert whole.returncode == 0, whole.stderr
    with (tmp_path / "log").open("wb") as log:
        victim = subprocess.Popen([sys.executable, *trained(shop)], cwd=ROOT, stdout=log, stderr=log)
    give_up = time.monotonic() + PATIENCE_S
    while "backup.npz" not in stored_files(f"{shop}/model"):
        assert victim.poll() is None and time.monotonic() < give_up, (tmp_path / "log").read_text()
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    done = run_command(*trained(shop), **of(shop, stores))
    assert done.returncode == 0, done.stderr
    assert "Epoch 1/3" not in done.stdout and "Epoch 3/3" in done.stdout
    found = []
    for name in ("never-killed", "model"):
        with local_copy(f"{shop}/{name}") as path:
            found.append([weight.numpy() for weight in atrank_tf.load(path).weights])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "backup.npz" not in stored_files(f"{shop}/model")
