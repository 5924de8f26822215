"""`python -m atrank_tf.evaluate`: how good a trained model is, beside rules of thumb, another model, and the best."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from atrank_tf import command

if TYPE_CHECKING:
    from atrank_tf.data import Part, Records
    from atrank_tf.evaluation import Estimate, PairedDifference
    from atrank_tf.models import Ranker

_RECORDS = flags.DEFINE_string(
    "records", None, "Records folder, as `python -m atrank_tf.prepare` wrote it.", required=True
)
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder of the trained model.", required=True)
_AGAINST = flags.DEFINE_string(
    "against", None, "Folder of another trained model: adds its metrics on the same requests, and the difference to it."
)
_TRUTH = flags.DEFINE_string(
    "truth", None, "Folder with the true probabilities of simulated logs; adds the best that can be reached."
)
_SPLIT = flags.DEFINE_enum("split", "validation", ["validation", "test"], "Part of the data to score.")


def main() -> None:
    from atrank_tf.data import Part, Records
    from atrank_tf.evaluation import evaluate, paired_differences, score_baselines, score_model, score_truth
    from atrank_tf.training import load_trained_experiment, model_checksum, write_metrics

    records, part = Records(_RECORDS.value), Part(_SPLIT.value)
    settings = load_trained_experiment(_MODEL_DIR.value).batching
    checksum = model_checksum(_MODEL_DIR.value)
    model, read = _load(records, _MODEL_DIR.value, part)
    against = model_checksum(_AGAINST.value) if _AGAINST.value else None
    other = _load(records, _AGAINST.value, part) if _AGAINST.value else None
    records.verify()
    scored = {model.name: score_model(model, read, part, settings)}
    differences: dict[str, dict[str, PairedDifference]] = {}
    if other:
        scored["against"] = score_model(*other, part, settings)
        for task in scored[model.name].keys() & scored["against"].keys():
            differences[task] = paired_differences(scored[model.name][task], scored["against"][task])
    scored |= score_baselines(read, part, model.tasks, settings)
    if _TRUTH.value:
        scored["reachable"] = score_truth(read, part, model.tasks, settings, _TRUTH.value)
    results = {name: {task: evaluate(requests) for task, requests in tasks.items()} for name, tasks in scored.items()}
    for task in model.tasks:
        if task in results[model.name]:
            rows = {name: tasks[task] for name, tasks in results.items() if task in tasks}
            sys.stdout.write(_table(f"{task}, {part}", rows, differences.get(task, {})))
    found = results | {"difference": differences} if other else results
    numbers = {name: {task: _numbers(metrics) for task, metrics in tasks.items()} for name, tasks in found.items()}
    metrics = write_metrics(_MODEL_DIR.value, part, checksum, records, numbers, against)
    of_model = {task: {m: e["value"] for m, e in of_task.items()} for task, of_task in metrics[model.name].items()}
    sys.stdout.write(json.dumps(of_model) + "\n")


def _load(records: "Records", model_dir: str, part: "Part") -> tuple["Ranker", "Records"]:
    """Returns a model, and the records as it reads them."""
    from atrank_tf.training import load_model_for, load_trained_experiment

    experiment = load_trained_experiment(model_dir)
    if part == "validation" and experiment.training.include_validation:
        raise ValueError(f"{model_dir} was trained on the targets of validation: only --split=test is left.")
    read = records.select(experiment.model.groups)
    return load_model_for(read, model_dir), read


def _numbers(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: dataclasses.asdict(estimate) for name, estimate in metrics.items()}


def _table(
    title: str, rows: Mapping[str, Mapping[str, "Estimate"]], differences: Mapping[str, "PairedDifference"]
) -> str:
    """A text table: a line for each model, a column for each metric, value and standard error."""
    metrics = list(next(iter(rows.values())))
    lines = [_line(title, metrics, indent="")]
    for name, estimates in rows.items():
        lines.append(_line(name, [f"{e.value:.4f} ±{e.standard_error:.4f}" for e in estimates.values()]))
    counted = next(iter(rows.values())).values()
    lines.append(_line("users, candidates or requests", [f"{estimate.count:,}" for estimate in counted]))
    if differences:
        found = [differences.get(metric) for metric in metrics]
        lines.append(_line("difference", [f"{d.difference:+.4f} ±{d.standard_error:.4f}" if d else "" for d in found]))
        lines.append(_line("p", [f"{d.p_value:.3f}" if d else "" for d in found]))
    return "\n".join(lines) + "\n\n"


def _line(name: str, cells: Sequence[str], indent: str = "  ") -> str:
    return f"{indent + name:32}" + "".join(f"{cell:>17}" for cell in cells)


if __name__ == "__main__":
    command.run(main)
