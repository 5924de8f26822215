"""`benchmarks/process_memory.py`: the memory of a process is its own, whoever started it."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json
import sys
sys.path.insert(0, "benchmarks")
from process_memory import peak_memory
start = peak_memory()
block = b"x" * (64 << 20)
del block
print(json.dumps([start, peak_memory()]))
"""


def test_the_peak_is_that_of_the_program_and_not_of_who_started_it() -> None:
    block = b"x" * (256 << 20)
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True)
    start, peak = json.loads(done.stdout)
    assert start < 100 < len(block) >> 20
    assert 60 < peak - start < 80
