"""Trains runs of the plan, several at a time, each in a process on cores of its own that ends with its caller."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plan import FOLDER, Comparison, Run

from atrank_tf.files import write_text

_TICK = 0.2
"""Seconds between checks for trainings that have ended."""


@dataclass(frozen=True)
class _Training:
    run: Run
    process: subprocess.Popen[bytes]
    started: float


def train_all(
    build: Path, runs: Sequence[Run], plan: Mapping[str, Comparison], workers: int, say: Callable[[str], None]
) -> None:
    """Trains runs in their order, `workers` at a time, and calls `say` with the outcome of each.

    Whatever ends the caller (Ctrl-C, an error) ends its trainings; the next call goes on where they stopped.
    """
    cores = sorted(os.sched_getaffinity(0))
    waiting, trainings = deque(runs), dict[int, _Training]()
    try:
        while waiting or trainings:
            for worker in range(workers):
                if waiting and worker not in trainings:
                    trainings[worker] = _start(build, waiting.popleft(), plan)
                    os.sched_setaffinity(trainings[worker].process.pid, cores[worker::workers])
            time.sleep(_TICK)
            for worker, training in list(trainings.items()):
                if training.process.poll() is not None:
                    del trainings[worker]
                    say(_outcome(build, training, plan))
                    say(f"  {len(waiting)} to go")
    finally:
        for training in trainings.values():
            training.process.terminate()
            training.process.send_signal(signal.SIGCONT)  # It may be halted.
        for training in trainings.values():
            training.process.wait()


def _start(build: Path, run: Run, plan: Mapping[str, Comparison]) -> _Training:
    folder, comparison = build / run.folder, plan[run.comparison]
    settings = {
        "experiment": comparison.models[run.model].experiment(run.seed),
        "records": str(build / run.records(plan)),
        "truth": f"{comparison.logs_folder(build)}/truth" if comparison.simulated_users else "",
        "candidates": comparison.candidates,
        "exclude_history": comparison.exclude_history,
        "trees": comparison.models[run.model].trees,
    }
    before = folder / "run.json"
    if before.exists() and json.loads(before.read_text())["experiment"] != settings["experiment"]:
        shutil.rmtree(folder)  # The plan has changed.
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "run.json", json.dumps(settings, indent=1))
    command_line = [sys.executable, str(FOLDER / "one_run.py"), str(folder)]
    with (folder / "log.txt").open("a") as log:
        process = subprocess.Popen(command_line, stdout=log, stderr=subprocess.STDOUT)
    return _Training(run, process, time.perf_counter())


def _outcome(build: Path, training: _Training, plan: Mapping[str, Comparison]) -> str:
    run, minutes = training.run, (time.perf_counter() - training.started) / 60
    folder, metric = build / run.folder, plan[run.comparison].metric
    if training.process.returncode:
        return f"{run}: FAILED after {minutes:.1f} min, see {folder}/log.txt"
    result = json.loads((folder / "result.json").read_text())
    found = ", ".join(f"{task} {metrics[metric][0]:.4f}" for task, metrics in result["test"].items())
    return f"{run}: test {metric} {found}, {minutes:.1f} min"
