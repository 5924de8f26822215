"""`python -m atrank_tf.simulate` as a person runs it."""

import re

import polars as pl


def test_logs_are_written_once(run_command, tmp_path):
    command = ("-m", "atrank_tf.simulate", "--users=50", "--seed=1", f"--logs={tmp_path}/logs")
    done = run_command(*command)
    assert done.returncode == 0, done.stderr
    first, *files = done.stdout.splitlines()
    assert re.fullmatch(rf"{tmp_path}/logs: 50 users in [\d.]+ s, [\d,]+ users per second", first)
    rows = {name: int(count.replace(",", "")) for name, count, _ in map(str.split, files)}
    assert rows["behaviors/product"] == len(pl.read_parquet(tmp_path / "logs/behaviors/product.parquet"))
    assert len(rows) == 9
    again = run_command(*command)
    expected = f"simulate: Expected nothing at {tmp_path}/logs. Remove it, or choose another folder.\n"
    assert (again.returncode, again.stdout, again.stderr) == (1, "", expected)
