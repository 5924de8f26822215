"""`make experiments`: every run of plan.toml that is not done yet, then docs/results.md.

Stop it at any time: the next call goes on where it stopped, within a training too.
"""

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import flags
from plan import FOLDER, Comparison, Run, load_plan, runs

import report
from atrank_tf import command
from atrank_tf.datasets import SOURCES, write_market

_BUILD = flags.DEFINE_string("build", "build/experiments", "Folder of all runs.")
_ONLY = flags.DEFINE_string("only", "", "Runs whose line holds this regular expression, as 'amazon_sports: din'.")
_WORKERS = flags.DEFINE_integer(
    "workers", 1, "Runs at a time, each on cores of its own; only times of the same number compare.", lower_bound=1
)


def main() -> None:
    build, plan = Path(_BUILD.value), load_plan()
    wanted = [run for run in runs(plan) if re.search(_ONLY.value, str(run))]
    if not wanted:
        raise ValueError(f"Expected --only to find a run. Received: {_ONLY.value!r}.")
    left = [run for run in wanted if not report.is_done(build, run, plan)]
    _say(f"{len(wanted)} runs, {len(wanted) - len(left)} done before")
    of_records = {run.records(plan): run for run in left}
    there = {records for records, run in of_records.items() if _prepare(build, run, plan)}
    waiting: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for run in left:
        if run.records(plan) in there:
            waiting.put(run)
    cores = sorted(os.sched_getaffinity(0))

    def work(worker: int) -> None:
        while True:
            try:
                run = waiting.get_nowait()
            except queue.Empty:
                return
            _train(build, run, plan, cores[worker :: _WORKERS.value])
            _say(f"  {waiting.qsize()} to go")

    with ThreadPoolExecutor(_WORKERS.value) as pool:
        list(pool.map(work, range(_WORKERS.value)))
    report.write(build, plan)


def _prepare(build: Path, run: Run, plan: Mapping[str, Comparison]) -> bool:
    """Makes the records of a run; False where its logs are not there."""
    logs = _logs(build, plan[run.comparison])
    users = plan[run.comparison].simulated_users
    if users and not Path(logs).is_dir():
        write_market(logs, users=users, seed=1)
    if logs not in SOURCES and not Path(logs).is_dir():
        _say(f"{run.comparison}: left out, there are no logs at {logs}")
        return False
    schema = plan[run.comparison].models[run.model].schema
    arguments = {"logs": logs, "schema": schema, "records": build / run.records(plan)}
    command_line = [
        sys.executable,
        "-m",
        "atrank_tf.prepare",
        *(f"--{key}={value}" for key, value in arguments.items()),
    ]
    subprocess.run(command_line, check=True, stdout=sys.stderr)
    return True


def _logs(build: Path, comparison: Comparison) -> str:
    return str(build / comparison.logs) if comparison.simulated_users else comparison.logs


def _train(build: Path, run: Run, plan: Mapping[str, Comparison], cores: Sequence[int]) -> None:
    folder, experiment = build / run.folder, plan[run.comparison].models[run.model].experiment(run.seed)
    if (folder / "run.json").exists() and json.loads((folder / "run.json").read_text())["experiment"] != experiment:
        shutil.rmtree(folder)  # The plan has changed.
    folder.mkdir(parents=True, exist_ok=True)
    comparison = plan[run.comparison]
    truth = f"{_logs(build, comparison)}/truth" if comparison.simulated_users else ""
    settings = {
        "experiment": experiment,
        "records": str(build / run.records(plan)),
        "truth": truth,
        "tuning": comparison.tuning,
    }
    (folder / "run.json").write_text(json.dumps(settings, indent=1))
    start = time.perf_counter()
    with (folder / "log.txt").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, str(FOLDER / "one_run.py"), str(folder)], stdout=log, stderr=subprocess.STDOUT
        )
        os.sched_setaffinity(process.pid, cores)
        failed = process.wait()
    minutes = (time.perf_counter() - start) / 60
    if failed:
        _say(f"{run}: FAILED after {minutes:.1f} min, see {folder}/log.txt")
        return
    result = json.loads((folder / "result.json").read_text())
    part = "validation" if comparison.tuning else "test"
    aucs = ", ".join(f"{task} {metrics['user_auc'][0]:.4f}" for task, metrics in result[part].items())
    _say(f"{run}: {part} user AUC {aucs}, {minutes:.1f} min")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    command.run(main)
