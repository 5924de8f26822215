"""The attacks that ask for memory, against the limit of 2 GiB that `export/tf_serving/compose.yaml` sets."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_largest_requests_and_those_that_are_larger_leave_the_server_below_the_limit() -> None:
    assert "memory: 2g" in (ROOT / "export/tf_serving/compose.yaml").read_text()
    command = [sys.executable, "tests/attack/run.py", "padded_examples", "unfinished_uploads"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^\| \d", done.stdout, re.MULTILINE)) == 2
