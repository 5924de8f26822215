"""Measures the seconds of training until a model is good on Amazon Sports: `python benchmarks/quality.py`.

Each model is trained by its experiment file, as `python -m atrank_tf.train` does, in a process of its own, and is
validated after each epoch; seconds are told with validation and without it. A level is a validation AUC, named by the
test AUC that models of this level have had. Writes build/bench_quality.json after each model; an hour for all of them.
"""

import json
import subprocess
import sys
import tempfile
import time
from typing import Any

import keras
from absl import flags

from atrank_tf import command
from atrank_tf.experiment import load_experiment
from atrank_tf.training import divide_threads, train
from figures import write_figures
from workload import LOGS, sports_records

EXPERIMENTS = ("amazon_sports_best", "amazon_sports_best_bi_lstm", "amazon_sports_cnn")
"""The recommended model, the Bi-LSTM and the CNN."""
LEVELS = {0.857: 0.866, 0.865: 0.874, 0.870: 0.879}
"""Test AUC -> validation AUC: 0.009 more in the experiments' trainings (their files say both)."""

_LOGS = flags.DEFINE_string("logs", LOGS, "Logs folder of Amazon Sports; generated logs are taken where it is none.")
_EXPERIMENTS = flags.DEFINE_list("experiments", list(EXPERIMENTS), "Files of experiments/, by name.")
_ONE = flags.DEFINE_string("one", "", "Used by the benchmark itself: the experiment that this process measures.")
_OUT = flags.DEFINE_string("out", "build/bench_quality.json", "Where the figures are written.")


class Clock(keras.callbacks.Callback):
    """Callback that records each epoch's validation AUC and the seconds until then; ends at the highest level."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict[str, float]] = []
        self._started = time.perf_counter()
        self._validating = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        self._validating -= time.perf_counter()

    def on_test_end(self, logs: Any = None) -> None:
        self._validating += time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        [auc] = [float(value) for name, value in logs.items() if name.startswith("val_") and name.endswith("auc")]
        seconds = time.perf_counter() - self._started
        found = {"validation_auc": auc, "seconds": seconds, "seconds_without_validation": seconds - self._validating}
        self.epochs.append(found)
        sys.stderr.write(f"{found}\n")
        self.model.stop_training |= auc >= max(LEVELS.values())


def main() -> None:
    if _ONE.value:
        clock = Clock()
        experiment = load_experiment(f"experiments/{_ONE.value}.toml")
        with tempfile.TemporaryDirectory() as folder:
            train(sports_records(_LOGS.value), experiment, f"{folder}/model", callbacks=[clock])
        print(json.dumps(clock.epochs))
        return
    figures: dict[str, Any] = {}
    for name in _EXPERIMENTS.value:
        program = [sys.executable, __file__, f"--one={name}", f"--logs={_LOGS.value}"]
        done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
        epochs = json.loads(done.stdout.splitlines()[-1])
        figures[name] = {"epochs": epochs, "levels": {}}
        for test, validation in LEVELS.items():
            one = next((one for one in epochs if one["validation_auc"] >= validation), None)
            figures[name]["levels"][test] = one
            text = "{seconds:.0f} s, {seconds_without_validation:.0f} s without validation" if one else "not reached"
            print(f"{name}: test AUC {test}: {text.format(**one or {})}", flush=True)
        write_figures(_OUT.value, figures)


def _before_devices() -> None:
    if _ONE.value:  # As `python -m atrank_tf.train` does.
        divide_threads(load_experiment(f"experiments/{_ONE.value}.toml").training.slices)


if __name__ == "__main__":
    command.run(main, before_devices=_before_devices)
