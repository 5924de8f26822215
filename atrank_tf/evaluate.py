"""`python -m atrank_tf.evaluate`: how good a trained model is, beside three baselines and, if it is known, the best."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from absl import flags, logging

from atrank_tf import command

if TYPE_CHECKING:
    from atrank_tf.evaluation import Estimate

_RECORDS = flags.DEFINE_string(
    "records", None, "Records folder, as `python -m atrank_tf.prepare` wrote it.", required=True
)
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder of the trained model.", required=True)
_TRUTH = flags.DEFINE_string(
    "truth", None, "Folder with the true probabilities of simulated logs; adds the best that can be reached."
)
_SPLIT = flags.DEFINE_enum("split", "validation", ["validation", "test"], "Part of the data to score.")


def main() -> None:
    from atrank_tf.data import Part, Records
    from atrank_tf.evaluation import BASELINES, evaluate, score_model, score_truth
    from atrank_tf.training import (
        experiment_from_dict,
        load_model,
        load_training,
        model_checksum,
        warn_if_unfinished,
        write_metrics,
    )

    records, part = Records(_RECORDS.value), Part(_SPLIT.value)
    training = load_training(_MODEL_DIR.value)
    experiment = experiment_from_dict(training["experiment"])
    warn_if_unfinished(_MODEL_DIR.value)
    if records.manifest["fingerprint"] != training["records"]:
        logging.warning("%s was trained on other records than %s.", _MODEL_DIR.value, _RECORDS.value)
    records = records.select(experiment.model.groups)
    if part is Part.VALIDATION and experiment.training.include_validation:
        raise ValueError(f"{_MODEL_DIR.value} was trained on the targets of validation: only --split=test is left.")
    checksum = model_checksum(_MODEL_DIR.value)
    model, settings = load_model(_MODEL_DIR.value), experiment.batching
    model.check_schema(records.schema)
    records.verify()
    scored = {model.name: score_model(model, records, part, settings)}
    for name, baseline in BASELINES.items():
        scored[name] = baseline(records, part, model.tasks, settings)
    if _TRUTH.value:
        scored["reachable"] = score_truth(records, part, model.tasks, settings, _TRUTH.value)
    results = {name: {task: evaluate(requests) for task, requests in tasks.items()} for name, tasks in scored.items()}
    for task in model.tasks:
        if task in results[model.name]:
            rows = {name: tasks[task] for name, tasks in results.items() if task in tasks}
            sys.stdout.write(_table(f"{task}, {part}", rows))
    numbers = {
        name: {task: {m: dataclasses.asdict(e) for m, e in estimates.items()} for task, estimates in tasks.items()}
        for name, tasks in results.items()
    }
    metrics = write_metrics(_MODEL_DIR.value, part, checksum, records, numbers)
    of_model = {task: {m: e["value"] for m, e in found.items()} for task, found in metrics[model.name].items()}
    sys.stdout.write(json.dumps(of_model) + "\n")


def _table(title: str, rows: Mapping[str, Mapping[str, "Estimate"]]) -> str:
    """A text table: a line for each model, a column for each metric, value and standard error."""
    metrics = list(next(iter(rows.values())))
    lines = [f"{title:32}" + "".join(f"{metric:>17}" for metric in metrics)]
    for name, estimates in rows.items():
        cells = (f"{e.value:.4f} ±{e.standard_error:.4f}" for e in estimates.values())
        lines.append(f"  {name:30}" + "".join(f"{cell:>17}" for cell in cells))
    counts = (f"{estimate.count:,}" for estimate in next(iter(rows.values())).values())
    lines.append(f"  {'users, candidates or requests':30}" + "".join(f"{count:>17}" for count in counts))
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    command.run(main)
