"""`python -m atrank_tf.train` on several workers: what a person reads when something is wrong."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

LOST = """
import os
import sys
import tensorflow as tf
import atrank_tf.data, atrank_tf.training
from atrank_tf import command, train
from atrank_tf.experiment import experiment_from_dict

def lost(*_, **__):
    raise getattr(tf.errors, os.environ["LOST"])(None, None, os.environ["SAID"])

train._experiment = experiment_from_dict({"model": {"name": "atrank"}})
atrank_tf.data.Records = lambda path: None
atrank_tf.training.train = lost
def join():
    train._before_devices()
    train._workers.number = int(os.environ["NUMBER"])

sys.argv[0] = "train"
command.run(train.main, before_devices=join)
"""
"""A training that another worker ends with the error LOST, which says SAID; NUMBER workers."""
FLAGS = ["--records=x", "--config=y", "--model_dir=z"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_wrong_tf_config_is_one_clear_line(run_command: Run, tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text('[model]\nname = "atrank"\n')
    config = f"--config={tmp_path}/experiment.toml"
    done = run_command("-m", "atrank_tf.train", f"--records={tmp_path}", "--model_dir=y", config, TF_CONFIG="{nothing")
    assert done.returncode == 1
    assert done.stderr.strip().split("\n")[-1].startswith("train: Expected TF_CONFIG as ")


@pytest.mark.parametrize("kind", ["UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError"])
def test_who_has_lost_another_worker_says_so_in_one_line(run_command: Run, kind: str) -> None:
    done = run_command("-c", LOST, *FLAGS, LOST=kind, SAID="Connection reset by peer", NUMBER="2")
    assert done.returncode == 1
    assert "train: Another worker is gone" in done.stderr.strip().split("\n")[-1]


def test_who_is_alone_has_lost_nobody(run_command: Run) -> None:
    done = run_command("-c", LOST, *FLAGS, LOST="AbortedError", SAID="an operation was aborted", NUMBER="1")
    assert done.returncode == 1
    assert "Another worker" not in done.stderr
    assert done.stderr.strip().endswith("AbortedError: an operation was aborted")


def test_the_model_to_begin_with_is_passed_on(run_command: Run) -> None:
    code = """
import sys
import atrank_tf.data, atrank_tf.training
from atrank_tf import command, train
from atrank_tf.experiment import experiment_from_dict

train._experiment = experiment_from_dict({"model": {"name": "atrank"}})
atrank_tf.data.Records = lambda path: None
atrank_tf.training.train = lambda *_, warm_start_dir, **__: print("begins with", warm_start_dir)
sys.argv[0] = "train"
command.run(train.main, before_devices=train._before_devices)
"""
    done = run_command("-c", code, *FLAGS, "--warm_start=monday")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "begins with monday"


def test_a_store_that_is_lost_is_no_reason_to_lose_a_training(run_command: Run) -> None:
    code = """
from atrank_tf import command, train

def lost():
    raise ConnectionError("s3://b/model: lost.")

command.write_stores = lost
train._write_epoch()
"""
    done = run_command("-c", code)
    assert done.returncode == 0, done.stderr
    assert "s3://b/model: lost. The training goes on, and tries again with the next epoch." in done.stderr
