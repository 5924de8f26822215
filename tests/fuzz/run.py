"""`make fuzz`: runs every target for some seconds, one after the other, and prints a line for each.

    python tests/fuzz/run.py [SECONDS [TARGET...]]

A target is a file beside this one: it says what a function may do with any bytes, and begins with inputs that are
right. What it finds beyond the law is kept in build/fuzz/<target>/crash-*, and stays until it is removed;
`python tests/fuzz/<target>.py build/fuzz/<target>/crash-...` runs it again. Inputs that reached new code are kept in
build/fuzz/<target>/corpus/, and the next run begins with them.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build/fuzz"
NOT_TARGETS = ("run", "harness")
RUNS = re.compile(rb"(?:Done |stat::number_of_executed_units:\s*)(\d+)")


def fuzz(target: str, seconds: int) -> bool:
    """Runs one target; returns whether it found nothing."""
    folder = BUILD / target
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE / f"{target}.py"), str(folder / "corpus"), f"-artifact_prefix={folder}/"]
    started = time.monotonic()
    with (folder / "log").open("wb") as log:
        code = subprocess.run(
            [*command, f"-max_total_time={seconds}", "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=6000"],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    runs = RUNS.findall((folder / "log").read_bytes())
    told = f"{int(runs[-1]):,} inputs" if runs else "no input"
    found = sorted(path.name for path in folder.iterdir() if "-" in path.name)
    verdict = f"FOUND, see {folder}/log" if code else "nothing found"
    if found:
        verdict += f"; kept: {', '.join(found)}"
    sys.stdout.write(f"{target}: {told} in {time.monotonic() - started:.0f} s, {verdict}\n")
    sys.stdout.flush()
    return code == 0


def main(seconds: str = "60", *targets: str) -> int:
    every = targets or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_TARGETS)
    found = [target for target in every if not fuzz(target, int(seconds))]
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
