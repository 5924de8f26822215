"""Writes the results of runs to docs/results.md, docs/figures/ and experiments/results.json.

results.json keeps the numbers that the page shows. A run of the plan that is not in the folder of runs is taken from
there, so that a comparison may be run on several machines, and continued later. A comparison of which nothing was run
since its experiment files changed keeps what it had, and the page says so.
"""

import datetime
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from differences import Results, add_differences
from plan import FOLDER, Comparison, Run

from atrank_tf.files import write_text

NAMES = {
    "user_auc": "user AUC",
    "auc": "pooled AUC",
    "ndcg@10": "NDCG@10",
    "hit_rate@10": "HR@10",
    "mean_rank": "mean rank",
}
"""Metric -> its name on the page."""
PAGE, FIGURES, DATA = Path("docs/results.md"), Path("docs/figures"), FOLDER / "results.json"


def is_done(build: Path, run: Run, plan: Mapping[str, Comparison]) -> bool:
    """Returns whether a run is finished, with the experiment that the plan has now."""
    path = build / run.folder / "result.json"
    return path.exists() and _is_of_plan(json.loads(path.read_text()), run, plan)


def _is_of_plan(result: Mapping[str, Any], run: Run, plan: Mapping[str, Comparison]) -> bool:
    """Returns whether a result is of the plan's experiment, and of what the plan ranks."""
    comparison = plan[run.comparison]
    ranked = result.get("candidates", "task"), result.get("exclude_history", False)
    return result["experiment"] == comparison.models[run.model].experiment(run.seed) and ranked == (
        comparison.candidates,
        comparison.exclude_history,
    )


def write(build: Path, plan: Mapping[str, Comparison]) -> None:
    """Writes the page, the figures and the data of all runs that are done."""
    done = _done(build, plan)
    add_differences(build, done, plan)
    results = _kept(plan, done) | done
    if not results:
        raise ValueError(f"Expected a finished run in {build}. Found none.")
    lines = [
        "# Results",
        "",
        f"Written by `make experiments` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} CPU cores. "
        "Do not edit.",
        "",
        "Each model keeps [an epoch by its validation AUC](experiment.md#which-epoch-is-kept); nothing is chosen on "
        "test. `best on test` picks the epoch on test, as much of the literature does, only to compare with it. "
        "Metrics are means over seeds ± the "
        "standard deviation between seeds. Differences are of average user AUC (of NDCG@10 where the catalog is "
        "ranked), as `mean ± standard error (largest p of the seeds, mean p)`: [what the tables "
        "say](make_experiments.md#what-the-tables-say).",
    ]
    data: dict[str, list[dict[str, Any]]] = {}
    for name, comparison in plan.items():
        found = {run: result for run, result in results.items() if run.comparison == name}
        if found:
            lines += ["", f"## {comparison.title}", "", f"{_when(found, plan)} {comparison.note}".strip(), ""]
            lines += _tables(comparison, found)
            validated = {run: result for run, result in found.items() if "validation" in result}
            if validated:
                lines += ["", f"![AUC over seconds of training](figures/{_figure(name, comparison, validated)})"]
            data[name] = [{"model": run.model, "seed": run.seed, **result} for run, result in found.items()]
    write_text(PAGE, "\n".join(lines) + "\n")
    write_text(DATA, json.dumps(data, indent=1) + "\n")


def _when(results: Results, plan: Mapping[str, Comparison]) -> str:
    """Returns when the runs of a comparison were made, and whether their experiment files have changed since."""
    first, last = min(result["date"] for result in results.values()), max(result["date"] for result in results.values())
    when = f"Trained on {last}" if first == last else f"Trained from {first} to {last}"
    earlier = not all(_is_of_plan(result, run, plan) for run, result in results.items())
    return f"{when}, **by experiment files that have changed since**." if earlier else f"{when}."


def _done(build: Path, plan: Mapping[str, Comparison]) -> Results:
    every = [Run(name, model, seed) for name, each in plan.items() for model in each.models for seed in each.seeds]
    return {
        run: json.loads((build / run.folder / "result.json").read_text()) for run in every if is_done(build, run, plan)
    }


def _tables(comparison: Comparison, results: Results) -> Iterator[str]:
    tasks = list(dict.fromkeys(task for result in results.values() for task in result["test"]))
    for task in tasks:
        yield f"### {task}"
        yield ""
        reachable = "of the reachable | " if comparison.simulated_users else ""
        reach = f"s to best of {comparison.reach} | " if comparison.reach else ""
        yield (
            f"| model | seeds | validation {NAMES[comparison.metric]} | test {NAMES[comparison.metric]} "
            f"| {reachable}against {comparison.against} | {' | '.join(NAMES[name] for name in _beside(comparison))} "
            f"| parameters | s to best | {reach}targets/s | best on test |"
        )
        yield "|---|---|---|---|---|---|---|---|---|---|---|" + "---|" * (bool(reachable) + bool(reach))
        for model in comparison.models:
            of_model = {run: r for run, r in results.items() if run.model == model and task in r["test"]}
            if of_model:
                yield _row(task, model, of_model, comparison, _reached(of_model, comparison, results))
        yield ""


def _reached(own: Results, comparison: Comparison, results: Results) -> list[str]:
    """Returns a cell with the seconds to the best validation AUC of `comparison.reach` with the same seed."""
    if not comparison.reach:
        return []
    found = []
    for run, result in own.items():
        other = results.get(Run(run.comparison, comparison.reach, run.seed))
        if other:
            aim = max(epoch["validation_auc"] for epoch in other["epochs"])
            found.append(next((e["seconds"] for e in result["epochs"] if e["validation_auc"] >= aim), np.inf))
    return [f"{np.mean(found):.0f}" if found and np.isfinite(found).all() else "never"]


def _row(task: str, model: str, own: Results, comparison: Comparison, reached: Sequence[str]) -> str:
    def metric(part: str, name: str) -> str:
        return _mean([result[part][task][name][0] for result in own.values() if part in result])

    rows = list(own.values())
    one_task = len(rows[0]["test"]) == 1
    cells = [
        model,
        str(len(own)),
        metric("validation", comparison.metric),
        f"**{metric('test', comparison.metric)}**",
        *_share_of_reachable(task, rows),
        _difference([row["against"][task] for row in rows if task in row["against"]], model, comparison),
        *(metric("test", name) for name in _beside(comparison)),
        f"{rows[0]['parameters']:,}",
        f"{np.mean([row['seconds_to_best'] for row in rows]):.0f}",
        *reached,
        f"{np.mean([row['targets_per_second'] for row in rows]):,.0f}",
        _mean([row["best_on_test"] for row in rows]) if one_task and all("best_on_test" in row for row in rows) else "",
    ]
    return f"| {' | '.join(cells)} |"


def _beside(comparison: Comparison) -> tuple[str, str]:
    """Returns the metrics that are shown beside the one by which models are compared."""
    return ("hit_rate@10", "mean_rank") if comparison.ranks_catalog else ("auc", "ndcg@10")


def _share_of_reachable(task: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a cell with (AUC - 0.5) of the model divided by that of the true probabilities, if these are known."""
    shares = [
        (row["test"][task]["user_auc"][0] - 0.5) / (row["reachable"][task] - 0.5) for row in rows if "reachable" in row
    ]
    return [f"{np.mean(shares):.1%}"] if shares else []


def _difference(found: Sequence[Mapping[str, float]], model: str, comparison: Comparison) -> str:
    if not found:
        return ""
    mean, error = (np.mean([each[name] for each in found]) for name in ("difference", "standard_error"))
    against = comparison.models[model].against
    other = "" if against == comparison.against else f" to {against}"
    # All seeds have the same one, unless a run was made again elsewhere or a seed has left the plan.
    of_means = {(each.get("p_of_means"), each.get("seeds")) for each in found}
    p_of_means = "".join(f", mean {p:.3f}" for p, seeds in of_means if len(of_means) == 1 and seeds == len(found))
    return f"{mean:+.4f} ± {error:.4f} ({max(each['p_value'] for each in found):.3f}{p_of_means}){other}"


def _kept(plan: Mapping[str, Comparison], done: Results) -> Results:
    """Returns the runs in results.json that the plan still has: of today's experiments; else, of earlier ones."""
    kept = json.loads(DATA.read_text()) if DATA.exists() else {}
    found: Results = {}
    for name in kept.keys() & plan.keys():
        of_comparison = {}
        for row in kept[name]:
            run = Run(name, row.pop("model"), row.pop("seed"))
            model = plan[name].models.get(run.model)
            if model and run.seed in plan[name].seeds:
                if row.get("compared_with", plan[name].against) != model.against:
                    row["against"] = {}  # Of another model.
                of_comparison[run] = row
        today = {run: row for run, row in of_comparison.items() if _is_of_plan(row, run, plan)}
        begun = any(run.comparison == name for run in done)
        found |= today if today or begun else of_comparison
    return found


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
    if not values:
        return ""
    return f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")
