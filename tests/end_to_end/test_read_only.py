"""Folders that cannot be written: what only reads works as ever, what writes says so in one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import atrank_tf
from atrank_tf.data import IdMaps, Records
from atrank_tf.experiment import experiment_from_dict, load_experiment
from atrank_tf.preparation import prepare
from atrank_tf.saved_model import export_model, publish
from atrank_tf.schema import load_schema
from atrank_tf.server import load
from atrank_tf.training import VALUES_FILE, train

ROOT = Path(__file__).parents[2]
EXPERIMENT = """
[model]
name = "bpr_mf"
hidden_dim = 8

[training]
epochs = 1
"""
MOUNT = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
"""A folder is mounted over itself, in a namespace that ends with the command."""


def in_namespace(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command for which a folder and what is in it cannot be written, whoever runs it."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    unshare = ["unshare", "--mount", *user, "sh", "-c", MOUNT, str(folder), *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(unshare, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder for `in_namespace`."""
    folder = tmp_path_factory.mktemp("mounted")
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    done = in_namespace(folder, "sh", "-c", f"touch {folder}/x; test ! -e {folder}/x")
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    return folder


def test_a_path_below_a_file_is_refused_before_anything_is_read(
    logs: Path, schema_file: Path, records: Records, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OSError, match=str(file)):
        prepare(str(logs), load_schema(str(schema_file)), f"{file}/records")
    experiment = experiment_from_dict({"model": {"name": "bpr_mf", "hidden_dim": 8}})
    with pytest.raises(Exception, match=f"{file} is not a directory"):  # An OpError, which a command tells in one line.
        train(records, experiment, f"{file}/model")
    with pytest.raises(OSError, match=str(file)):
        publish(lambda path: None, f"{file}/export")


@pytest.fixture(scope="module")
def whole_way(logs: Path, schema_file: Path, records: Records, read_only: Path) -> Path:
    """A folder with all that the commands read."""
    shutil.copytree(logs, read_only / "logs")
    shutil.copy(schema_file, read_only / "schema.toml")
    shutil.copytree(records.path, read_only / "records")
    (read_only / "experiment.toml").write_text(EXPERIMENT)
    model = str(read_only / "model")
    train(Records(records.path), load_experiment(str(read_only / "experiment.toml")), model)
    export_model(atrank_tf.load(model), IdMaps.load(f"{model}/{VALUES_FILE}"), str(read_only / "export"))
    return read_only


def command_line(operation: str, read: Path, written: Path) -> list[str]:
    records, model = f"--records={read}/records", f"--model_dir={read}/model"
    logs, to = (f"--logs={read}/logs", f"--schema={read}/schema.toml"), "--model_dir"
    lines = {
        "prepare": ["-m", "atrank_tf.prepare", *logs, f"--records={written}/new_records"],
        "train": ["-m", "atrank_tf.train", records, f"--config={read}/experiment.toml", f"{to}={written}/new_model"],
        "evaluate": ["-m", "atrank_tf.evaluate", records, model, "--against="],
        "explain": ["-m", "atrank_tf.explain", records, model, f"--out={written}/report", "--users=1"],
        "export": ["-m", "atrank_tf.export", model, f"--export_dir={written}/export"],
    }
    return [sys.executable, *lines[operation]]


@pytest.mark.slow
def test_what_stands_in_a_read_only_folder_is_all_that_the_commands_need(whole_way: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole_way.rglob("*")}
    for operation in ("prepare", "train", "evaluate", "explain", "export"):
        done = in_namespace(whole_way, *command_line(operation, whole_way, tmp_path / "written"))
        assert done.returncode == 0, done.stderr
        if operation == "evaluate":  # Its numbers are printed, and the file that it would leave is given up.
            assert set(json.loads(done.stdout.splitlines()[-1])) == {"next_purchase", "next_redemption"}
            assert "metrics_validation.json is not written: " in done.stderr
            assert "Read-only file system" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in whole_way.rglob("*")}
    assert Records(str(tmp_path / "written/new_records")).manifest["users"]
    assert atrank_tf.load(str(tmp_path / "written/new_model")).name == "bpr_mf"
    load(str(tmp_path / "written/export/1")).close()


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["prepare", "train", "explain", "export"])
def test_what_cannot_be_written_is_told_in_one_line(whole_way: Path, operation: str) -> None:
    done: Any = in_namespace(whole_way, *command_line(operation, whole_way, whole_way))
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.strip().split("\n") if not line.startswith(("I0000", "WARNING: All log")))
    assert str(whole_way) in line and "Read-only file system" in line
    assert done.stdout == ""
