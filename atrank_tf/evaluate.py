"""`python -m atrank_tf.evaluate`: how good a trained model is, beside rules of thumb, LightGBM and the best."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from atrank_tf import command

if TYPE_CHECKING:
    from atrank_tf.data import Part, Records
    from atrank_tf.evaluation import Estimate, LightGBM, PairedDifference, RequestMeasures, TaskFindings
    from atrank_tf.experiment import Batching
    from atrank_tf.models import Ranker

    Results = dict[str, dict[str, dict[str, Estimate]]]
    Differences = dict[str, dict[str, PairedDifference]]

_RECORDS = flags.DEFINE_string(
    "records", None, "Records folder, as `python -m atrank_tf.prepare` wrote it.", required=True
)
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder of the trained model.", required=True)
_AGAINST = flags.DEFINE_string(
    "against",
    None,
    "Folder of another trained model, a .parquet file of scores as --scores writes it, or lightgbm: adds its metrics "
    "on the same requests, and the difference to it. Default: lightgbm, where it is installed; --against= for nothing.",
)
_SCORES = flags.DEFINE_string("scores", None, "Parquet file to write with request, candidate, label and score.")
_TRUTH = flags.DEFINE_string(
    "truth", None, "Folder with the true probabilities of simulated logs; adds the best that can be reached."
)
_SPLIT = flags.DEFINE_enum("split", "validation", ["validation", "test"], "Part of the data to score.")
_CANDIDATES = flags.DEFINE_enum(
    "candidates",
    "task",
    ["task", "catalog"],
    "What is ranked: the candidates that the task has, or every object of its entity.",
)
_EXCLUDE_HISTORY = flags.DEFINE_bool(
    "exclude_history",
    False,
    "Leave out of the catalog what is in the user's history in the task's own group: to rank what is new to the user.",
)

_PAGE = "evaluation.html"
_TREES = "lightgbm"
"""The value of --against that is no path."""

command.reads_records(_RECORDS)
command.reads(_AGAINST, _TRUTH)
command.writes(_MODEL_DIR, needed=False)
command.writes(_SCORES)


def check() -> None:
    """Checks which flags go together, and looks for what they name."""
    _check_flags()
    command.check_records(_RECORDS.value)
    command.check_model(_MODEL_DIR.value)
    if _is_file(_AGAINST.value):
        if not Path(str(_AGAINST.value)).is_file():
            raise FileNotFoundError(f"Expected a file of scores at {_AGAINST.value}. Found none.")
    elif _AGAINST.value == _TREES:
        if not find_spec(_TREES):
            raise ImportError("--against=lightgbm needs lightgbm: pip install 'atrank-tf[experiments]'")
    elif _AGAINST.value:
        command.check_model(_AGAINST.value)
    if _TRUTH.value and not Path(_TRUTH.value).is_dir():
        raise FileNotFoundError(f"Expected a folder with the true probabilities at {_TRUTH.value}. Found none.")


def main() -> None:
    from atrank_tf.data import Part, Records
    from atrank_tf.evaluation import LIGHTGBM, LightGBM, are_probabilities, metrics_table, trained_with
    from atrank_tf.files import file_checksum
    from atrank_tf.report import check_parts, load_report
    from atrank_tf.training import load_trained_experiment, model_checksum, trained_part, write_metrics

    records, part = Records(_RECORDS.value), Part(_SPLIT.value)
    experiment = load_trained_experiment(_MODEL_DIR.value)
    settings = experiment.batching
    checksum = model_checksum(_MODEL_DIR.value)
    model, read = _load(records, _MODEL_DIR.value, part)
    check_parts(load_report(records.path), read.schema, model.tasks, [part], records.path)
    beside, against, other = _beside(), None, None
    if _is_file(beside):
        against = file_checksum(beside)
    elif beside == _TREES:
        against = _TREES
    elif beside:
        against, other = model_checksum(beside), _load(records, beside, part)
    records.verify()
    remarks = {task: trained_with(read.schema.tasks[task], settings, experiment.training.loss) for task in model.tasks}
    trees, measures = None, None
    if beside == _TREES:  # They know affinity, whether or not the model reads it.
        trees = LightGBM(
            records.select(experiment.model.groups),
            model.tasks,
            settings,
            experiment.training.seed,
            part=trained_part(experiment.training),
        )
        remarks = {task: f"{remark}\n  {trees.about(task)}" for task, remark in remarks.items()}
    if _CANDIDATES.value == "catalog":
        results, differences = _rank_catalog(model, read, other, part, settings)
    else:
        results, differences, measures = _score_requests(model, read, other, trees, part, settings)
    for task in model.tasks:
        if task in results[model.name]:
            rows = {name: tasks[task] for name, tasks in results.items() if task in tasks}
            sys.stdout.write(metrics_table(f"{task}, {part}", rows, differences.get(task, {})))
            sys.stdout.write(f"  {remarks[task]}\n\n" if measures else "\n")
    found = results | {"difference": differences} if beside else results
    numbers = {name: {task: _numbers(metrics) for task, metrics in tasks.items()} for name, tasks in found.items()}
    metrics = write_metrics(_MODEL_DIR.value, part + _suffix(), checksum, records, numbers, against)
    if measures:
        name = LIGHTGBM if trees else "against" if beside else ""
        probabilities = are_probabilities(settings, experiment.training.loss)
        findings = measures.findings(results, name, differences, remarks, probabilities)
        about = command.named(f"{model.name} of {_MODEL_DIR.value}, {part}{f', against {beside}' if beside else ''}")
        _write_page(read, findings, about)
    of_model = {task: {m: e["value"] for m, e in of_task.items()} for task, of_task in metrics[model.name].items()}
    sys.stdout.write(json.dumps(of_model) + "\n")


def _check_flags() -> None:
    catalog = _CANDIDATES.value == "catalog"
    if _EXCLUDE_HISTORY.value and not catalog:
        raise ValueError("--exclude_history is for --candidates=catalog: a task's own candidates are what they are.")
    if _TRUTH.value and catalog:
        raise ValueError("--truth has probabilities of impressions alone: it does not go with --candidates=catalog.")
    if catalog and _AGAINST.value == _TREES:
        raise ValueError("LightGBM ranks the candidates of the task: it does not go with --candidates=catalog.")
    if catalog and (_SCORES.value or _is_file(_AGAINST.value)):
        raise ValueError("A file of scores has the candidates of the task: it does not go with --candidates=catalog.")
    if _SCORES.value and not _is_file(_SCORES.value):
        raise ValueError(f"Expected a file whose name ends with .parquet for --scores. Received: {_SCORES.value}.")


def _is_file(path: Any) -> bool:
    """Returns whether a path is that of a file of scores; else it is a model's, or there is none."""
    return str(path).endswith(".parquet")


def _beside() -> str:
    """Returns what the model is compared with: a model's folder, a file of scores, `lightgbm`, or nothing."""
    if _AGAINST.value is None and _CANDIDATES.value == "task" and find_spec(_TREES):
        return _TREES
    return str(_AGAINST.value or "")


def _suffix() -> str:
    """Returns what the name of the metrics' file says of the candidates."""
    return ("_catalog" if _CANDIDATES.value == "catalog" else "") + ("_new" if _EXCLUDE_HISTORY.value else "")


def _score_requests(
    model: "Ranker",
    read: "Records",
    other: "tuple[Ranker, Records] | None",
    trees: "LightGBM | None",
    part: "Part",
    settings: "Batching",
) -> tuple["Results", "Differences", "RequestMeasures"]:
    """Returns metrics on the candidates of the requests, and what is known of single requests and kinds of them.

    row -> task -> metric; task -> metric -> difference.
    """
    from atrank_tf.evaluation import (
        LIGHTGBM,
        AskedRequests,
        RequestMeasures,
        evaluate,
        paired_differences,
        read_scores,
        score_base_rate,
        score_baselines,
        score_model,
        score_truth,
        write_scores,
    )

    asked = AskedRequests() if _SCORES.value or _is_file(_AGAINST.value) else None
    scored = {model.name: score_model(model, read, part, settings, watch=asked)}
    if asked and _SCORES.value:
        write_scores(_SCORES.value, read, asked, scored[model.name])
    if asked and _is_file(_AGAINST.value):
        scored["against"] = read_scores(str(_AGAINST.value), read, asked, scored[model.name])
    elif other:
        scored["against"] = score_model(*other, part, settings)
    elif trees:
        scored[LIGHTGBM] = trees.score(part)
    differences = {
        task: paired_differences(scored[model.name][task], found)
        for name, tasks in scored.items()
        for task, found in tasks.items()
        if name != model.name and task in scored[model.name]
    }
    # A model that reads other groups is asked in another order.
    alike = other is None or other[1].schema.groups == read.schema.groups
    measures = RequestMeasures(read, scored if alike else {model.name: scored[model.name]})
    scored |= score_baselines(read, part, model.tasks, settings, watch=measures)
    scored["base rate"] = {task: score_base_rate(found) for task, found in scored[model.name].items()}
    if _TRUTH.value:
        scored["reachable"] = score_truth(read, part, model.tasks, settings, _TRUTH.value)
    results = {name: {task: evaluate(each) for task, each in tasks.items()} for name, tasks in scored.items()}
    return results, differences, measures


def _write_page(records: "Records", found: Mapping[str, "TaskFindings"], about: str) -> None:
    """Writes the page beside the model and says where it is, or on the log that the folder cannot be written."""
    import tensorflow as tf

    from atrank_tf.evaluation import page
    from atrank_tf.explanation import Names
    from atrank_tf.files import write_text
    from atrank_tf.training import load_training

    names, groups = Names(records), records.schema.groups
    path = f"{_MODEL_DIR.value}/{_PAGE}"

    def label(group: str, rows: Sequence[int]) -> list[str]:
        return [thing.label for thing in names.things(groups[group].entity, rows)]

    try:
        write_text(path, page(about, found, load_training(_MODEL_DIR.value), label))
        sys.stdout.write(f"page: {path}\n")
    except tf.errors.OpError as error:
        logging.warning("%s is not written: %s", path, error.message)


def _rank_catalog(
    model: "Ranker", read: "Records", other: "tuple[Ranker, Records] | None", part: "Part", settings: "Batching"
) -> tuple["Results", "Differences"]:
    """Returns metrics among all objects, as `_score_requests`."""
    from atrank_tf.evaluation import (
        evaluate_ranks,
        paired_rank_differences,
        rank_catalog,
        rank_catalog_by_rules,
        tasks_of_lists,
    )

    shown = tasks_of_lists(read.schema, model.tasks)
    for task in shown:
        logging.warning("%s is left out: only what was shown has a label, not the whole catalog.", task)
    if len(shown) == len(model.tasks):
        raise ValueError(
            "--candidates=catalog needs a task with sampled negatives. The candidates of all tasks of "
            f"{_MODEL_DIR.value} are impressions: {', '.join(shown)}."
        )
    exclude = _EXCLUDE_HISTORY.value
    ranks = {model.name: rank_catalog(model, read, part, settings, exclude_history=exclude)}
    differences = {}
    if other:
        ranks["against"] = rank_catalog(*other, part, settings, exclude_history=exclude)
        for task in ranks[model.name].keys() & ranks["against"].keys():
            differences[task] = paired_rank_differences(ranks[model.name][task], ranks["against"][task])
    ranks |= rank_catalog_by_rules(read, part, model.tasks, settings, exclude_history=exclude)
    return {name: {task: evaluate_ranks(e) for task, e in tasks.items()} for name, tasks in ranks.items()}, differences


def _load(records: "Records", model_dir: str, part: "Part") -> tuple["Ranker", "Records"]:
    """Returns a model, and the records as it reads them."""
    from atrank_tf.training import load_model_for, load_trained_experiment

    experiment = load_trained_experiment(model_dir)
    if part == "validation" and experiment.training.include_validation:
        raise ValueError(f"{model_dir} was trained on the targets of validation: only --split=test is left.")
    read = records.select(experiment.model.groups, affinity=experiment.model.reads_affinity)
    return load_model_for(read, model_dir), read


def _numbers(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: dataclasses.asdict(estimate) for name, estimate in metrics.items()}


if __name__ == "__main__":
    command.run(main, check)
