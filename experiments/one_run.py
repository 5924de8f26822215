"""Trains and evaluates one run of the plan, in a process of its own: `python experiments/one_run.py RUN_FOLDER`.

The folder holds `run.json`: experiment, records, the folder of the true probabilities ("" if unknown), what is ranked,
and whether LightGBM takes the place of the model. The run adds `model/`, `scores_<split>_<task>.npz`
(`ranks_<split>_<task>.npz` where the whole catalog is ranked), and last `result.json`, without which it counts as not
done. A run that trains on the targets of validation too (`include_validation`) is not evaluated on them.
"""

import dataclasses
import datetime
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from atrank_tf.data import Part, Records, count_targets, evaluation_batches
from atrank_tf.evaluation import LightGBM, evaluate, evaluate_ranks, rank_catalog, score_model, score_truth
from atrank_tf.experiment import Experiment, experiment_from_dict
from atrank_tf.files import write_text
from atrank_tf.training import divide_threads, load, train, trained_part

ScorePart = Callable[[Part], Mapping[str, Any]]
"""Function: a part -> task -> its scored requests, or the ranks of its positives in the catalog."""


class Watch(keras.callbacks.Callback):
    """Callback that records the seconds of training, without validation, and the AUC of `test` batches at each epoch.

    The test AUC chooses nothing: it gives the "best on test" that the literature reports.
    """

    def __init__(self, path: Path, test: Any | None) -> None:
        super().__init__()
        self._path, self._test = path, test
        # A resumed training goes on where the file stops.
        self.epochs: list[dict[str, float]] = json.loads(path.read_text()) if path.exists() else []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start, self._end = time.perf_counter(), None

    def on_test_begin(self, logs: Any = None) -> None:
        self._end = self._end or time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = (self._end or time.perf_counter()) - self._start
        before = self.epochs[epoch - 1]["seconds"] if epoch else 0.0
        noted = {"seconds": before + seconds}
        if self._test is not None:
            aucs = self.model.evaluate(self._test, return_dict=True, verbose=0)
            noted["test_auc"] = mean_auc(aucs)
        self.epochs[epoch:] = [noted]
        write_text(self._path, json.dumps(self.epochs))


def mean_auc(logs: Mapping[str, float | None], prefix: str = "") -> float:
    """Returns the mean over the tasks that have an AUC; NaN where none has one."""
    aucs = [value for name, value in logs.items() if name.startswith(prefix) and name.endswith("auc")]
    known = [value for value in aucs if value is not None and not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def main(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    experiment = experiment_from_dict(run["experiment"])
    divide_threads(experiment.training.slices)
    records = Records(run["records"]).select(experiment.model.groups, affinity=experiment.model.reads_affinity)
    tasks = experiment.model.tasks or tuple(records.schema.tasks)
    last = experiment.training.include_validation
    part = trained_part(experiment.training)
    targets = sum(count_targets(records, task, part, experiment.batching) for task in tasks)
    if run["trees"]:
        score, trained = _grown(records, tasks, experiment, targets)
    else:
        score, trained = _trained(folder, run, records, tasks, experiment, targets)
    result: dict[str, Any] = {
        "experiment": run["experiment"],
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "records": records.manifest["fingerprint"],
        "candidates": run["candidates"],
        "exclude_history": run["exclude_history"],
        **trained,
    }
    for part in [Part.TEST] if last else [Part.VALIDATION, Part.TEST]:
        result[str(part)] = {}
        for task, each in score(part).items():
            ranks = run["candidates"] == "catalog"
            np.savez_compressed(
                folder / f"{'ranks' if ranks else 'scores'}_{part}_{task}.npz", **dataclasses.asdict(each)
            )
            estimates = evaluate_ranks(each) if ranks else evaluate(each)
            result[str(part)][task] = {name: [e.value, e.standard_error] for name, e in estimates.items()}
    if run["truth"]:
        truth = score_truth(records, Part.TEST, tasks, experiment.batching, run["truth"])
        result["reachable"] = {task: evaluate(requests)["user_auc"].value for task, requests in truth.items()}
    write_text(folder / "result.json", json.dumps(result, indent=1))


def _trained(
    folder: Path, run: Mapping[str, Any], records: Records, tasks: Sequence[str], experiment: Experiment, targets: int
) -> tuple[ScorePart, dict[str, Any]]:
    """Trains the experiment's model; returns what scores a part, and what is noted of the training."""
    catalog = run["candidates"] == "catalog"
    test = None
    if not catalog:
        test = evaluation_batches(records, Part.TEST, tasks=tasks, settings=experiment.batching)
    watch = Watch(folder / "epochs.json", test)
    train(records, experiment, str(folder / "model"), callbacks=[watch])
    training = json.loads((folder / "model" / "training.json").read_text())
    model = load(str(folder / "model"))
    noted: dict[str, Any] = {
        "parameters": int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        "best_epoch": training["best_epoch"],
        "seconds_to_best": watch.epochs[training["best_epoch"]]["seconds"],
        "targets_per_second": targets * len(watch.epochs) / watch.epochs[-1]["seconds"],
        "epochs": watch.epochs,
    }
    if test is not None:
        noted["best_on_test"] = max(epoch["test_auc"] for epoch in watch.epochs)
    if not experiment.training.include_validation:
        for epoch, logs in zip(watch.epochs, training["history"], strict=True):
            epoch["validation_auc"] = mean_auc(logs, "val_")

    def score(part: Part) -> dict[str, Any]:
        if catalog:
            return rank_catalog(model, records, part, experiment.batching, exclude_history=run["exclude_history"])
        return score_model(model, records, part, experiment.batching)

    return score, noted


def _grown(
    records: Records, tasks: Sequence[str], experiment: Experiment, targets: int
) -> tuple[ScorePart, dict[str, Any]]:
    """`_trained` of LightGBM on the numbers that the experiment's model reads beside embeddings."""
    started = time.perf_counter()
    trees = LightGBM(
        records,
        tasks,
        experiment.batching,
        experiment.training.seed,
        most_candidates=1_000_000,
        part=trained_part(experiment.training),
    )
    seconds = time.perf_counter() - started
    aucs = [evaluate(requests)["user_auc"].value for requests in trees.score(Part.VALIDATION).values()]
    return trees.score, {
        "parameters": trees.leaves,
        "best_epoch": 0,
        "seconds_to_best": seconds,
        "targets_per_second": targets / seconds,
        "epochs": [{"seconds": seconds, "validation_auc": float(np.mean(aucs))}],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
