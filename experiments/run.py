"""`make experiments`: makes every run of plan.toml that is not done yet, then writes docs/results.md.

Stop it at any time: the next call goes on where it stopped, even within a training.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from absl import flags
from plan import Comparison, Run, load_plan, runs
from trainings import train_all

import report
from atrank_tf import command
from atrank_tf.datasets import SOURCES, write_market

_BUILD = flags.DEFINE_string("build", "build/experiments", "Folder of all runs.")
_ONLY = flags.DEFINE_string("only", "", "Runs whose line holds this regular expression, as 'amazon_sports: din'.")
_WORKERS = flags.DEFINE_integer(
    "workers", 1, "Runs at a time, each on cores of its own; only times of the same number compare.", lower_bound=1
)


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` ends the trainings too, as Ctrl-C does.
    try:
        _run()
    except KeyboardInterrupt:
        _say("stopped: the next call goes on from here")
        raise


def _run() -> None:
    build, plan = Path(_BUILD.value), load_plan()
    cores = len(os.sched_getaffinity(0))
    if _WORKERS.value > cores:
        raise ValueError(f"Expected --workers to be at most the CPU cores, {cores}. Received: {_WORKERS.value}.")
    wanted = [run for run in runs(plan) if re.search(_ONLY.value, str(run))]
    if not wanted:
        raise ValueError(f"Expected --only to find a run. Received: {_ONLY.value!r}.")
    left = [run for run in wanted if not report.is_done(build, run, plan)]
    _say(f"{len(wanted)} runs, {len(wanted) - len(left)} done before")
    of_records = {run.records(plan): run for run in left}
    there = {records for records, run in of_records.items() if _prepare(build, run, plan)}
    train_all(build, [run for run in left if run.records(plan) in there], plan, _WORKERS.value, _say)
    report.write(build, plan)


def _prepare(build: Path, run: Run, plan: Mapping[str, Comparison]) -> bool:
    """Makes the records of a run; returns False if its logs are missing."""
    logs = plan[run.comparison].logs_folder(build)
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


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    command.run(main)
