"""Measures a training by several workers beside one, a CPU core for each: `python benchmarks/workers.py`.

Trains experiments on Amazon Sports by `train`, all workers on this machine. The batch of a step is the experiment's,
shared out among the workers; since batches are divided up anew for them, an epoch has not quite as many steps. So the
time of an epoch with one worker divided by that with several is the speed-up. Prints the seconds of the second epoch:
of its steps, which is what a long epoch takes, and with what is done between it and the next, as workers take over
tables and averaged weights from the chief. Writes build/bench_workers.json.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from absl import flags

from atrank_tf import command
from atrank_tf.experiment import load_experiment
from atrank_tf.training import Workers, divide_threads, train
from figures import write_figures
from measure import cores
from workload import sports_records

_WORKERS = flags.DEFINE_integer("workers", 2, "Processes that train together, beside one alone.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds; what is reported is their median.", lower_bound=1)
_CASE = flags.DEFINE_string("case", "", "Used by the benchmark itself: the case that this process trains.")
_CORE = flags.DEFINE_integer("core", None, "Used by the benchmark itself: the core of this process.")
_FOLDER = flags.DEFINE_string("folder", "", "Used by the benchmark itself: where this process trains.")
_OUT = flags.DEFINE_string("out", "build/bench_workers.json", "Where the figures are written.")

CASES = {
    "timeline_atrank": ("amazon_sports_timeline.toml", {}),
    "timeline_atrank, batch_tokens = 4096": ("amazon_sports_timeline.toml", {"batch_tokens": 4096}),
    "timeline_atrank, batch_tokens = 8192": ("amazon_sports_timeline.toml", {"batch_tokens": 8192}),
    "atrank": ("amazon_sports.toml", {}),
}
"""Experiment file, and changes of its batching; 8,192 tokens are the default of an experiment."""

_workers: Any = None


def _meet() -> None:
    global _workers
    if _CASE.value:
        os.sched_setaffinity(0, {_CORE.value})
        divide_threads(1)
        _workers = Workers.join()


def main() -> None:
    if _CASE.value:
        _train(*CASES[_CASE.value])
        return
    if cores() < _WORKERS.value:
        raise ValueError(f"Expected a core for each of {_WORKERS.value} workers. Found {cores()}.")
    sports_records()
    figures: dict[str, dict[str, Any]] = {}
    for name in CASES:
        rounds = np.array([[_epoch(name, 1), _epoch(name, _WORKERS.value)] for _ in range(_ROUNDS.value)])
        ratios = rounds[:, 0] / rounds[:, 1]  # [rounds, 2]
        figures[name] = {"repeats": {}}
        for place, what in enumerate(("steps", "epoch")):
            one, several = np.median(rounds[..., place], axis=0)
            speed_up = float(np.median(ratios[:, place]))
            figures[name] |= {f"{what}_seconds_alone": one, f"{what}_seconds_together": several}
            figures[name][f"{what}_speed_up"] = speed_up
            figures[name]["repeats"][f"{what}_speed_up"] = ratios[:, place].tolist()
            print(f"{name}, {what}: {one:.1f} s, {several:.1f} with {_WORKERS.value} workers: {speed_up:.2f} x")
    write_figures(_OUT.value, figures)


class _Stop(keras.callbacks.Callback):
    """Prints the seconds of the second epoch's steps and those of all of it, and ends the training."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            self._begun = time.perf_counter()
        if epoch == 2:
            print(self._last_step - self._begun, time.perf_counter() - self._begun, flush=True)
            os._exit(0)  # Another worker would wait for the end of the epoch.

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._last_step = time.perf_counter()


def _train(file: str, changes: dict[str, Any]) -> None:
    experiment = load_experiment(f"experiments/{file}")
    training = replace(experiment.training, epochs=3, include_validation=True, patience=0)
    experiment = replace(experiment, batching=replace(experiment.batching, **changes), training=training)
    train(sports_records(), experiment, _FOLDER.value, callbacks=[_Stop()], workers=_workers)


def _epoch(case: str, workers: int) -> list[float]:
    """Returns the seconds of the steps and of all of an epoch of so many workers, as their chief sees them."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    cluster = {"worker": [f"127.0.0.1:{found.getsockname()[1]}" for found in sockets]}
    for found in sockets:
        found.close()
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for rank, core in zip(range(workers), sorted(os.sched_getaffinity(0)), strict=False):
            task = {"cluster": cluster, "task": {"type": "worker", "index": rank}}
            environment = os.environ | ({"TF_CONFIG": json.dumps(task)} if workers > 1 else {})
            own = [f"--case={case}", f"--core={core}", f"--folder={folder}"]
            command_line = [sys.executable, __file__, *own]
            processes.append(subprocess.Popen(command_line, env=environment, stdout=subprocess.PIPE, text=True))
        told = processes[0].communicate()[0].splitlines()
        for process in processes:
            process.kill()
            process.wait()
    if not told:
        raise ValueError(f"A training of {case!r} ended before it was measured.")
    return [float(seconds) for seconds in told[-1].split()]


if __name__ == "__main__":
    command.run(main, before_devices=_meet)
