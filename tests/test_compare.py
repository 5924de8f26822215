"""`benchmarks/compare.py`: what differs by more than its repeats do is told, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_figure_has_changed_where_the_repeats_of_two_runs_do_not_meet(tmp_path: Path) -> None:
    def run(name: str, yardstick: list[float], base: list[float]) -> str:
        point = {"length": 4096, "times_base": base[0], "repeats": {"times_base": base}}
        found = {"fit": {"atrank": {"repeats": {"times_yardstick": yardstick}}}, "scaling": {"atrank": [point]}}
        (tmp_path / name).write_text(json.dumps({**found, "memory": {"peak": 7}}))
        return str(tmp_path / name)

    files = run("before.json", [37.0, 38.0, 40.0], [2.0, 1.9, 2.1]), run("after.json", [39.0, 41.0], [1.8, 1.5, 1.6])
    done = subprocess.run(
        [sys.executable, "benchmarks/compare.py", *files],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "scaling, atrank, length 4096, times_base: 2 (1.9 to 2.1) -> 1.6 (1.5 to 1.8), -20%",
        "1 of 2 figures changed by more than their noise; 0 are in one file alone.",
    ]
