"""Measures the speed of `fit` and of the input pipeline on Amazon Sports, each model beside the yardstick.

Each model runs in a process of its own, so that its peak memory is its own. The processes take turns, round after
round, so that changes in the machine's speed affect all of them. Writes build/bench_fit.json.

A row is one (history, candidate) pair that counts in the loss; a target is one positive among its candidates.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from absl import flags

from atrank_tf import command
from atrank_tf.experiment import Experiment
from atrank_tf.models import MODELS
from atrank_tf.training import compile_model, divide_threads
from figures import write_figures
from measure import (
    Worker,
    answer_questions,
    cores,
    count_rows,
    count_targets,
    fit_seconds,
    matmul_flops,
    matmul_peak,
    shapes,
)
from process_memory import peak_memory
from workload import LOGS, experiments, sports_records
from yardstick import BATCH_SIZE, yardstick_batches, yardstick_model

_LOGS = flags.DEFINE_string("logs", LOGS, "Logs folder of Amazon Sports; generated logs are taken where it is none.")
_STEPS = flags.DEFINE_integer("steps", 60, "Steps of a round that are measured, of each model.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds; what is reported is their median.", lower_bound=1)
_YARDSTICK_STEPS = flags.DEFINE_integer("yardstick_steps", 20, "As --steps, of the yardstick.", lower_bound=1)
_YARDSTICK_BATCH = flags.DEFINE_integer(
    "yardstick_batch", BATCH_SIZE, "Rows in a batch of the yardstick.", lower_bound=1
)
_MODEL = flags.DEFINE_string("model", "", "Used by the benchmark itself: the model that this process measures.")
_OUT = flags.DEFINE_string("out", "build/bench_fit.json", "Where the figures are written.")

YARDSTICK = "yardstick"
MODELS_MEASURED = ("atrank", "timeline_atrank", "cnn", "bi_lstm")
"""ATRank, and of the baselines the convolutions and the recurrence; all by their experiments on Amazon Sports."""
FIRST = 5
"""Steps of a round before those that are measured."""
PIPELINE_BATCHES = 200
CANDIDATES = 5
"""Per target, in every model: rows per second grow with it, since a history is encoded once for all candidates."""


def main() -> None:
    if _MODEL.value:
        _measure(_MODEL.value)
        return
    sports_records(_LOGS.value)
    common = ("--logs", "--steps", "--rounds", "--yardstick_steps", "--yardstick_batch")
    arguments = [f"{name}={flags.FLAGS[name[2:]].value}" for name in common]
    workers = {name: Worker(__file__, f"--model={name}", *arguments) for name in (YARDSTICK, *MODELS_MEASURED)}
    figures = {name: worker.ask("prepare") for name, worker in workers.items()}
    rounds = [{name: worker.ask("round") for name, worker in workers.items()} for _ in range(_ROUNDS.value)]
    for name, worker in workers.items():
        figures[name] |= worker.ask("finish")
        worker.close()
        figures[name] |= _summary(figures[name], [one[name] for one in rounds])
        ratios = [one[YARDSTICK]["seconds"] / one[name]["seconds"] for one in rounds]
        figures[name]["times_yardstick"] = float(np.median(ratios)) * figures[name]["rows"] / figures[YARDSTICK]["rows"]
        figures[name] = {key: value for key, value in figures[name].items() if not np.isnan(value)}
        print(f"{name}: " + ", ".join(f"{key} {value:,.3f}" for key, value in figures[name].items()))
        rows = figures[name]["rows"] / figures[YARDSTICK]["rows"]
        figures[name]["repeats"] = {"times_yardstick": [ratio * rows for ratio in ratios]}
    write_figures(_OUT.value, figures)


def _summary(counted: dict[str, float], rounds: list[dict[str, float]]) -> dict[str, float]:
    """Returns medians over rounds; a round is compared with the peak just before and after it."""
    seconds = [one["seconds"] for one in rounds]
    median = float(np.median(seconds))
    return {
        "rows_per_second": counted["rows"] / median,
        "targets_per_second": counted["targets"] / median,
        "milliseconds_per_step": 1000 * median / counted["steps"],
        "slowest_round_over_fastest": max(seconds) / min(seconds),
        "matmul_peak_gflops": float(np.median([one["peak"] for one in rounds])) / 1e9,
        "share_of_matmul_peak": float(np.median([counted["flops"] / one["seconds"] / one["peak"] for one in rounds])),
        "pipeline_over_fit": counted["pipeline_rows_per_second"] * median / counted["rows"],
    }


def _measure(name: str) -> None:
    """Runs the process of one model, which answers the questions that are the keys of `answers`."""
    records = sports_records(_LOGS.value)
    if name == YARDSTICK:
        experiment = _experiment("atrank")
        model = yardstick_model(records, experiment)
        batches = yardstick_batches(records, experiment, _YARDSTICK_BATCH.value)
        steps = _YARDSTICK_STEPS.value
    else:
        experiment = _experiment(name)
        model = MODELS[experiment.name](records.schema, catalogs=records.catalogs, **vars(experiment.model))
        batches = model.training_batches(records, settings=experiment.batching)
        compile_model(model, experiment.training, steps=batches.steps)
        steps = _STEPS.value
    counted: list[Any] = []

    def prepare() -> dict[str, float]:
        counted.extend(batches.dataset.skip(FIRST).take(steps))
        # Every shape that the rounds will meet is traced and compiled here: a dataset starts at the same batch again.
        fit_seconds(model, batches.dataset, FIRST, steps)
        return {
            "steps": steps,
            "rows": sum(count_rows(batch) for batch in counted),
            "targets": sum(count_targets(batch) for batch in counted),
            "pipeline_rows_per_second": _pipeline(batches, PIPELINE_BATCHES),
        }

    def one_round() -> dict[str, float]:
        before = matmul_peak()
        seconds = float(fit_seconds(model, batches.dataset, FIRST, steps).sum())
        return {"peak": max(before, matmul_peak()), "seconds": seconds}

    def finish() -> dict[str, float]:
        memory = peak_memory()
        return {"peak_memory_mib": memory, "flops": _total_flops(model, counted)}

    answers: dict[str, Callable[[], Any]] = {"prepare": prepare, "round": one_round, "finish": finish}
    answer_questions(answers)


def _experiment(name: str) -> Experiment:
    experiment = experiments()[name]
    return replace(
        experiment,
        batching=replace(experiment.batching, negatives=CANDIDATES - 1),
        training=replace(experiment.training, slices=cores()),
    )


def _before_devices() -> None:
    # As `python -m atrank_tf.train` does. The yardstick has TensorFlow's own division.
    if _MODEL.value in MODELS_MEASURED:
        divide_threads(cores())


def _pipeline(batches: Any, count: int) -> float:
    """Returns the rows per second of tf.data alone."""
    rows, started = 0, 0.0
    for number, batch in enumerate(batches.dataset.take(FIRST + count)):
        if number == FIRST:
            started = time.perf_counter()
        if number >= FIRST:
            rows += count_rows(batch)
    return rows / (time.perf_counter() - started)


def _total_flops(model: Any, measured: list[Any]) -> float:
    by_shape: dict[str, float] = {}
    for batch in measured:
        if shapes(batch) not in by_shape:
            by_shape[shapes(batch)] = matmul_flops(model, batch)
            if np.isnan(by_shape[shapes(batch)]):
                return float("nan")  # So it will be for every other shape.
    return float(sum(by_shape[shapes(batch)] for batch in measured))


if __name__ == "__main__":
    command.run(main, before_devices=_before_devices)
