"""`make bench`: how fast prepare, the input pipeline and `fit` are, on Amazon Sports.

Prints a table and writes build/bench.json. A row is one (history, candidate) pair; every figure stands beside the share
that it is of another one of the same run, since the machine's speed drifts.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from absl import flags

from atrank_tf import command

_LOGS = flags.DEFINE_string("logs", "../shared/data/amazon_sports", "Logs folder of Amazon Sports.")
_EXPERIMENT = flags.DEFINE_string("config", "experiments/amazon_sports.toml", "Experiment file.")
_STEPS = flags.DEFINE_integer("steps", 100, "Training steps that are measured.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "build/bench.json", "Where the figures are written.")

SCHEMA = "experiments/amazon_sports.schema.toml"
RECORDS = "build/bench/records"


def main() -> None:
    if not Path(_LOGS.value).is_dir():
        raise FileNotFoundError(f"Expected the Amazon Sports logs at {_LOGS.value}. Found none: name them with --logs.")
    figures: dict[str, Any] = _prepare() | _train()
    out = Path(_OUT.value)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1))
    for name, value in figures.items():
        print(f"{name:44}{value:>14,.2f}")


def _prepare() -> dict[str, float]:
    """Seconds and peak memory of prepare, in a process of its own."""
    command_line = [sys.executable, "-m", "atrank_tf.prepare", "--overwrite"]
    started = time.perf_counter()
    subprocess.run(
        [*command_line, f"--logs={_LOGS.value}", f"--schema={SCHEMA}", f"--records={RECORDS}"],
        check=True,
        capture_output=True,
    )
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"prepare: seconds": seconds, "prepare: peak memory, MiB": peak}


def _train() -> dict[str, float]:
    from atrank_tf.data import Records, training_batches
    from atrank_tf.models import MODELS
    from atrank_tf.training import compile_model, load_experiment

    records, experiment = Records(RECORDS), load_experiment(_EXPERIMENT.value)
    model = MODELS[experiment.name](records.schema, experiment.model, records.catalogs)
    batches = training_batches(records, tasks=model.tasks, settings=experiment.batching)
    compile_model(model, experiment.training, steps=batches.steps)

    started = time.perf_counter()
    rows = padded = behaviors = 0
    for inputs, labels, _ in batches.dataset.take(batches.steps).as_numpy_iterator():
        rows += sum(label.size for label in labels.values())
        for group in records.schema.groups:
            behaviors += int((inputs[f"{group}_id"] > 0).sum())
            padded += inputs[f"{group}_id"].size
    pipeline = rows / (time.perf_counter() - started)

    model.fit(batches.dataset, steps_per_epoch=10, shuffle=False, verbose=0)  # Traces the step.
    measured = list(batches.dataset.take(_STEPS.value))
    rows = sum(int(label.shape[0] * label.shape[1]) for _, labels, _ in measured for label in labels.values())
    started = time.perf_counter()
    model.fit(batches.dataset, steps_per_epoch=_STEPS.value, shuffle=False, verbose=0)
    seconds = time.perf_counter() - started
    return {
        "tf.data alone: rows per second": pipeline,
        "fit: rows per second": rows / seconds,
        "fit: milliseconds per step": 1000 * seconds / _STEPS.value,
        "tf.data alone / fit": pipeline * seconds / rows,
        "padding, share of history places": 1 - behaviors / padded,
    }


if __name__ == "__main__":
    command.run(main)
