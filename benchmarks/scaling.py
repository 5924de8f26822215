"""Measures training steps against the length of the history and the number of candidates.

Users with histories of one length are generated and prepared; the one target of each user that has this length before
it is trained on (`min_history`). Each figure is the median of a few steps, and of rounds through the series, in which
it is compared with another point. The first round runs upward in one process, so that the peak memory is that of the
point. Writes build/bench_scaling.json.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from absl import flags

from atrank_tf import command
from atrank_tf.models import MODELS
from atrank_tf.training import compile_model
from figures import write_figures
from measure import answer_questions, ask_once, fit_seconds
from process_memory import peak_memory
from workload import BUILD, experiments, generated_logs, prepared

_MODEL = flags.DEFINE_string("model", "", "Used by the benchmark itself: the model that this process measures.")
_OUT = flags.DEFINE_string("out", "build/bench_scaling.json", "Where the figures are written.")

MODELS_MEASURED = ("atrank", "timeline_atrank")
"""The baselines read a history at a cost that docs/models.md states."""
CHANGES: dict[str, dict[str, Any]] = {"timeline_atrank": {"window": 256}}
"""What long histories need beside the experiment's settings."""
LENGTHS = {64: 64, 256: 16, 1024: 4, 4096: 1}
"""Length of the history -> requests in a batch: the same number of behaviors in every step."""
BASE = 256
"""The length with which others are compared."""
STEPS, ROUNDS = {4096: 3}, 3
CANDIDATES = (2, 10, 100, 1000)
"""A request has a positive and at least one negative."""
REQUESTS = 16
"""In a batch of the measurements over candidates; their histories are of the shortest length."""
FIRST = 2
HELD_OUT = 2
"""Targets that leave-last-out takes from the end of each user."""


def main() -> None:
    if _MODEL.value:
        _measure(_MODEL.value)
        return
    figures: dict[str, Any] = {}
    for name in MODELS_MEASURED:
        figures[name] = {}
        for series in ("length", "candidates"):
            figures[name][series] = ask_once(series, __file__, f"--model={name}")
            for found in figures[name][series]:
                print(f"{name}: " + ", ".join(f"{key} {found[key]:,.2f}" for key in found if key != "repeats"))
    write_figures(_OUT.value, figures)


def _measure(name: str) -> None:
    lengths = [(length, requests, 2) for length, requests in LENGTHS.items()]
    candidates = [(min(LENGTHS), REQUESTS, count) for count in CANDIDATES]
    answers: dict[str, Callable[[], Any]] = {
        "length": lambda: _series(name, lengths, lengths.index((BASE, LENGTHS[BASE], 2))),
        "candidates": lambda: _series(name, candidates, 0),
    }
    answer_questions(answers)


def _series(name: str, points: list[tuple[int, int, int]], base: int) -> list[dict[str, Any]]:
    """Returns figures of each point, beside those of the point `base` in the same round."""
    steps, memory, rounds = [], [], []
    for number in range(ROUNDS):
        rounds.append([])
        for place, point in enumerate(points):
            if not number:
                steps.append(_steps(name, *point))
            rounds[-1].append(1000 * float(np.median(steps[place]())))
            if not number:
                memory.append(peak_memory())
    figures = []
    for place, (length, requests, candidates) in enumerate(points):
        beside = [one[place] / one[base] for one in rounds]
        milliseconds = float(np.median([one[place] for one in rounds]))
        figures.append(
            {
                "length": length,
                "requests": requests,
                "candidates": candidates,
                "milliseconds_per_step": milliseconds,
                "tokens_per_second": 1000 * requests * length / milliseconds,
                "times_base": float(np.median(beside)),
                "peak_memory_mib": memory[place],
                "repeats": {"times_base": beside},
            }
        )
    return figures


def _steps(name: str, length: int, requests: int, candidates: int) -> Callable[[], np.ndarray]:
    """Returns a function that gives the seconds of a few steps of `fit`."""
    steps = STEPS.get(length, 10)
    users = 16 * LENGTHS[length]  # One target each, so 16 steps to the epoch.
    logs = generated_logs(f"length_{length}", np.full(users, length + 1 + HELD_OUT))
    records = prepared(logs, BUILD / "records" / f"length_{length}", max_length=length)
    experiment = experiments()[name]
    batching = replace(
        experiment.batching,
        batch_size=requests,
        batch_tokens=requests * length,
        negatives=candidates - 1,
        min_history=length,
        targets_per_user=0,
    )
    config = vars(experiment.model) | CHANGES.get(name, {})
    model = MODELS[name](records.schema, catalogs=records.catalogs, **config)
    batches = model.training_batches(records, settings=batching)
    compile_model(model, experiment.training, steps=batches.steps)
    return lambda: fit_seconds(model, batches.dataset, FIRST, steps)


if __name__ == "__main__":
    command.run(main)
