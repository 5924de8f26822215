"""`python -m atrank_tf.simulate` as a person runs it."""

import re
import subprocess
import sys
from pathlib import Path

import polars as pl

ROOT = Path(__file__).parents[1]


def run(logs):
    command = [sys.executable, "-m", "atrank_tf.simulate", "--users=50", "--seed=1", f"--logs={logs}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_logs_are_written_once(tmp_path):
    done = run(tmp_path / "logs")
    assert done.returncode == 0, done.stderr
    first, *files = done.stdout.splitlines()
    assert re.fullmatch(rf"{tmp_path}/logs: 50 users in [\d.]+ s, [\d,]+ users per second", first)
    rows = {name: int(count.replace(",", "")) for name, count, _ in map(str.split, files)}
    assert rows["behaviors/product"] == len(pl.read_parquet(tmp_path / "logs/behaviors/product.parquet"))
    assert len(rows) == 9
    again = run(tmp_path / "logs")
    expected = f"simulate: Expected nothing at {tmp_path}/logs. Remove it, or choose another folder.\n"
    assert (again.returncode, again.stdout, again.stderr) == (1, "", expected)
