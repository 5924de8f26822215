"""The longest benchmark runs to its end, in measurements too short to say anything: limits of requests change."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest


@pytest.mark.slow
def test_every_request_of_the_serving_benchmark_is_answered(
    run_command: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp", reason="needs the package aiohttp (extra serving)")
    done = run_command("benchmarks/serving.py", "--seconds=0.01", f"--out={tmp_path}/bench.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "bench.json").read_text())
    assert len(figures["targets"]) == 8
    assert all(figures[kind] for kind in ("bare", "server", "repeated", "memory", "top", "long", "long append"))
