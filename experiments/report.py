"""Results of the runs -> docs/results.md, docs/figures/ and experiments/results.json."""

import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from plan import FOLDER, Comparison, Run

from atrank_tf.evaluation import ScoredRequests, paired_difference

PAGE, FIGURES, DATA = Path("docs/results.md"), Path("docs/figures"), FOLDER / "results.json"

Results = dict[Run, dict[str, Any]]


def is_done(build: Path, run: Run, plan: Mapping[str, Comparison]) -> bool:
    """Returns whether a run is finished, of the experiment that the plan has now."""
    path = build / run.folder / "result.json"
    if not path.exists():
        return False
    return bool(
        json.loads(path.read_text())["experiment"] == plan[run.comparison].models[run.model].experiment(run.seed)
    )


def write(build: Path, plan: Mapping[str, Comparison]) -> None:
    """Writes the page, the figures and the data of all runs that are done."""
    every = [Run(name, model, seed) for name, c in plan.items() for model in c.models for seed in c.seeds]
    results = {
        run: json.loads((build / run.folder / "result.json").read_text()) for run in every if is_done(build, run, plan)
    }
    if not results:
        raise ValueError(f"Expected a finished run in {build}. Found none.")
    lines = [
        "# Results",
        "",
        f"Written by `make experiments` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} CPU cores. "
        "Do not edit.",
        "",
        "Each model keeps the epoch of its best validation AUC; nothing is chosen on test. Mean over seeds ± standard "
        "deviation between seeds. The difference is of average user AUC on the same test requests, by paired bootstrap "
        "over users, scores of the same seed against each other; ± its standard error within one seed, in brackets the "
        "largest p of the seeds. `best on test` picks the epoch on test, as much of the literature does: only to "
        "compare with it.",
    ]
    data = {}
    for name, comparison in plan.items():
        found = {run: result for run, result in results.items() if run.comparison == name}
        if found:
            lines += ["", f"## {comparison.title}", "", *_tables(build, comparison, found)]
            lines += ["", f"![AUC over seconds of training](figures/{_figure(name, comparison, found)})"]
            data[name] = [{"model": run.model, "seed": run.seed, **result} for run, result in found.items()]
    _replace(PAGE, "\n".join(lines) + "\n")
    _replace(DATA, json.dumps(data, indent=1) + "\n")


def _tables(build: Path, comparison: Comparison, results: Results) -> Iterator[str]:
    tasks = list(dict.fromkeys(task for result in results.values() for task in result["test"]))
    for task in tasks:
        yield f"### {task}"
        yield ""
        yield (
            "| model | seeds | validation user AUC | test user AUC | against "
            f"{comparison.against} | pooled AUC | NDCG@10 | parameters | s to best | targets/s | best on test |"
        )
        yield "|---|---|---|---|---|---|---|---|---|---|---|"
        for model in comparison.models:
            of_model = {run: r for run, r in results.items() if run.model == model and task in r["test"]}
            if of_model:
                yield _row(build, comparison, task, model, of_model, results)
        yield ""


def _row(build: Path, comparison: Comparison, task: str, model: str, own: Results, results: Results) -> str:
    def metric(part: str, name: str) -> str:
        return _mean([result[part][task][name][0] for result in own.values()])

    rows = list(own.values())
    one_task = len(rows[0]["test"]) == 1
    cells = [
        model,
        str(len(own)),
        metric("validation", "user_auc"),
        f"**{metric('test', 'user_auc')}**",
        _difference(build, comparison, task, model, list(own), results),
        metric("test", "auc"),
        metric("test", "ndcg@10"),
        f"{rows[0]['parameters']:,}",
        f"{np.mean([row['seconds_to_best'] for row in rows]):.0f}",
        f"{np.mean([row['targets_per_second'] for row in rows]):,.0f}",
        _mean([row["best_on_test"] for row in rows]) if one_task else "",
    ]
    return f"| {' | '.join(cells)} |"


def _difference(
    build: Path, comparison: Comparison, task: str, model: str, own: Sequence[Run], results: Results
) -> str:
    found = []
    for run in own:
        other = Run(run.comparison, comparison.against, run.seed)
        if model != comparison.against and other in results and task in results[other]["test"]:
            found.append(paired_difference(_scores(build, run, task), _scores(build, other, task)))
    if not found:
        return ""
    mean = np.mean([each.difference for each in found])
    return f"{mean:+.4f} ± {found[0].standard_error:.4f} ({max(each.p_value for each in found):.3f})"


def _scores(build: Path, run: Run, task: str) -> ScoredRequests:
    with np.load(build / run.folder / f"scores_test_{task}.npz") as arrays:
        return ScoredRequests(**arrays)


def _figure(name: str, comparison: Comparison, results: Results) -> str:
    """Draws validation AUC over seconds of training, the first seed of each model; returns the file's name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for place, model in enumerate(comparison.models):
        run = Run(name, model, comparison.seeds[0])
        if run in results:
            epochs = results[run]["epochs"]
            seconds, aucs = [e["seconds"] for e in epochs], [e["validation_auc"] for e in epochs]
            axes.plot(seconds, aucs, marker="o", markersize=3, linestyle=("-", "--", ":")[place // 10], label=model)
    axes.set(xscale="log", xlabel="seconds of training", ylabel="validation AUC", title=comparison.title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    FIGURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=110)
    return f"{name}.png"


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")


def _replace(path: Path, text: str) -> None:
    aside = path.with_suffix(f"{path.suffix}.partial")
    aside.write_text(text)
    aside.rename(path)
