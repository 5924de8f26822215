"""Measures an epoch of one model for all tasks, beside a model for each and one without affinity, on timelines.

The experiment is experiments/market_timeline.toml, on a simulated market, with as many slices as cores. Each model runs
in a process of its own; they take turns, round after round, so that changes in the machine's speed affect all of them.
Writes build/bench_tasks.json.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from absl import flags

from atrank_tf import command
from atrank_tf.experiment import load_experiment
from atrank_tf.models import MODELS
from atrank_tf.training import compile_model, divide_threads
from figures import write_figures
from measure import Worker, answer_questions, cores, fit_seconds
from workload import market_records

_STEPS = flags.DEFINE_integer("steps", 100, "Steps of a round that are measured, of each model.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Rounds; what is reported is their median.", lower_bound=1)
_MODEL = flags.DEFINE_string("model", "", "Used by the benchmark itself: the model that this process measures.")
_OUT = flags.DEFINE_string("out", "build/bench_tasks.json", "Where the figures are written.")

USERS = 10_000
FIRST = 10
"""Steps of a round before those that are measured."""
MODELS_MEASURED: dict[str, dict[str, Any]] = {
    "all2all": {},
    "all2all, no affinity": {"affinity": False},
    "all2one, product": {"tasks": ("next_product",)},
    "all2one, query": {"tasks": ("next_query",)},
    "all2one, coupon": {"tasks": ("next_coupon",)},
}
"""What each model has otherwise in its config."""


def main() -> None:
    if _MODEL.value:
        _measure(_MODEL.value)
        return
    market_records(USERS)
    arguments = [f"--{flag.name}={flag.value}" for flag in (_STEPS, _ROUNDS)]
    workers = {name: Worker(__file__, f"--model={name}", *arguments) for name in MODELS_MEASURED}
    figures = {name: worker.ask("prepare") for name, worker in workers.items()}
    rounds = [{name: worker.ask("round") for name, worker in workers.items()} for _ in range(_ROUNDS.value)]
    for worker in workers.values():
        worker.close()
    epochs = [{name: one[name] * figures[name]["steps_per_epoch"] for name in one} for one in rounds]
    largest = [max(seconds for name, seconds in one.items() if MODELS_MEASURED[name].get("tasks")) for one in epochs]
    for name, found in figures.items():
        found["milliseconds_per_step"] = 1000 * float(np.median([one[name] for one in rounds]))
        found["seconds_per_epoch"] = float(np.median([one[name] for one in epochs]))
        ratios = [one[name] / most for one, most in zip(epochs, largest, strict=True)]
        found["times_largest_task"] = float(np.median(ratios))
        print(f"{name}: " + ", ".join(f"{key} {value:,.3f}" for key, value in found.items()))
        found["repeats"] = {"times_largest_task": ratios}
    with_affinity = [one["all2all"] / one["all2all, no affinity"] for one in rounds]
    figures["all2all"]["times_no_affinity"] = float(np.median(with_affinity))
    figures["all2all"]["repeats"]["times_no_affinity"] = with_affinity
    print(f"all2all, a step with affinity: {figures['all2all']['times_no_affinity']:.2f} x one without")
    write_figures(_OUT.value, figures)


def _measure(name: str) -> None:
    """Runs the process of one model, which answers the questions that are the keys of `answers`."""
    records = market_records(USERS)
    experiment = load_experiment("experiments/market_timeline.toml")
    model_config = replace(experiment.model, **MODELS_MEASURED[name])
    model = MODELS[experiment.name](records.schema, catalogs=records.catalogs, **vars(model_config))
    batches = model.training_batches(records, settings=experiment.batching)
    compile_model(model, replace(experiment.training, slices=cores()), steps=batches.steps)

    def prepare() -> dict[str, float]:
        fit_seconds(model, batches.dataset, FIRST, FIRST)  # Traces the step.
        return {"steps_per_epoch": batches.steps}

    def one_round() -> float:
        return float(fit_seconds(model, batches.dataset, FIRST, _STEPS.value).mean())

    answers: dict[str, Callable[[], Any]] = {"prepare": prepare, "round": one_round}
    answer_questions(answers)


def _before_devices() -> None:
    if _MODEL.value:  # As `python -m atrank_tf.train` does.
        divide_threads(cores())


if __name__ == "__main__":
    command.run(main, before_devices=_before_devices)
