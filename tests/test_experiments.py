"""`make experiments`: every run of the plan can begin, and what is done stays in the page."""

import importlib
import json
import math
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Records
from atrank_tf.evaluation import CATALOG_METRICS, ScoredRequests
from atrank_tf.evaluation.metrics import metric_values
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.schema import load_schema

ROOT = Path(__file__).parents[1]
OF_TASK = {"candidates": "task", "exclude_history": False, "trees": False}


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Any:
    return _program("plan", monkeypatch)


@pytest.fixture
def report(plan: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    module = _program("report", monkeypatch)
    for name, file in (("PAGE", "results.md"), ("DATA", "results.json"), ("FIGURES", "figures")):
        monkeypatch.setattr(module, name, tmp_path / file)
    return module


def _program(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    return importlib.import_module(name)


def test_every_run_of_the_plan_has_a_valid_experiment_and_schema(plan: Any) -> None:
    comparisons = plan.load_plan()
    every = list(plan.runs(comparisons))
    assert len({run.folder for run in every}) == len(every) > 20
    for run in every:
        model = comparisons[run.comparison].models[run.model]
        assert experiment_from_dict(model.experiment(run.seed)).training.seed == run.seed
        tasks = load_schema(str(ROOT / comparisons[run.comparison].schema)).tasks
        assert load_schema(str(ROOT / model.schema)).tasks == tasks  # The same requests.


def _result(plan: Any, comparisons: Any, run: Any, auc: float) -> dict[str, Any]:
    metrics = {"next_review": {"user_auc": [auc, 0.001], "auc": [auc, 0.001], "ndcg@10": [0.5, 0.001]}}
    return {
        "experiment": comparisons[run.comparison].models[run.model].experiment(run.seed),
        "date": f"2026-12-0{run.seed}",
        "parameters": 1234,
        "seconds_to_best": 60.0,
        "targets_per_second": 100.0,
        "best_on_test": auc,
        "epochs": [{"seconds": 60.0, "test_auc": auc, "validation_auc": auc}],
        "validation": metrics,
        "test": metrics,
    }


def _finish(build: Path, run: Any, result: dict[str, Any]) -> Path:
    """Writes the result of a run as `one_run` does; returns its folder."""
    folder = build / run.folder
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_the_page_keeps_what_was_done_elsewhere_as_long_as_the_plan_has_it(
    plan: Any, report: Any, tmp_path: Path
) -> None:
    comparisons = plan.load_plan()
    here, there = (plan.Run("amazon_sports", "din", seed) for seed in (1, 2))
    kept = {"model": "din", "seed": 2, "against": {}, **_result(plan, comparisons, there, 0.75)}
    other = {**kept, "seed": 3, "experiment": {"model": {"name": "din", "hidden_dim": 3}}}
    report.DATA.write_text(json.dumps({"amazon_sports": [kept, other], "no_more": [kept]}))
    _finish(tmp_path / "build", here, _result(plan, comparisons, here, 0.85))
    assert report.is_done(tmp_path / "build", here, comparisons)
    assert not report.is_done(tmp_path / "build", there, comparisons)
    report.write(tmp_path / "build", comparisons)
    [line] = [line for line in report.PAGE.read_text().splitlines() if line.startswith("| din")]
    assert "| din | 2 | 0.8000 ± 0.0707 | **0.8000 ± 0.0707** |  |" in line
    rows = json.loads(report.DATA.read_text())
    assert [(row["model"], row["seed"]) for row in rows["amazon_sports"]] == [("din", 2), ("din", 1)]
    assert set(rows) == {"amazon_sports"}
    assert (report.FIGURES / "amazon_sports.png").exists()
    report.write(tmp_path / "nowhere", comparisons)  # Nothing is lost where nothing was run.
    assert json.loads(report.DATA.read_text()) == rows


def test_a_comparison_of_which_nothing_was_run_since_its_files_changed_keeps_what_it_had(
    plan: Any, report: Any, tmp_path: Path
) -> None:
    comparisons = plan.load_plan()
    before = [plan.Run("amazon_sports", "din", seed) for seed in (1, 2)]
    rows = [
        {"model": run.model, "seed": run.seed, "against": {}}
        | _result(plan, comparisons, run, 0.75)
        | {"experiment": {"model": {"name": "din", "hidden_dim": 3}}}
        for run in before
    ]
    report.DATA.write_text(json.dumps({"amazon_sports": rows}))
    report.write(tmp_path / "nowhere", comparisons)
    page = report.PAGE.read_text()
    assert (
        "Trained from 2026-12-01 to 2026-12-02, **by experiment files that have changed since**. Training sett" in page
    )
    assert "| din | 2 | 0.7500 ± 0.0000 |" in page
    assert json.loads(report.DATA.read_text()) == {"amazon_sports": rows}
    begun = plan.Run("amazon_sports", "cnn", 1)
    _finish(tmp_path / "build", begun, _result(plan, comparisons, begun, 0.85))
    report.write(tmp_path / "build", comparisons)
    page = report.PAGE.read_text()
    assert "Trained on 2026-12-01. Training settings" in page
    assert "| cnn | 1 |" in page
    assert "| din |" not in page


def test_a_simulated_market_shows_the_share_of_the_reachable_and_whom_each_model_is_compared_with(
    plan: Any, report: Any, tmp_path: Path
) -> None:
    comparisons = plan.load_plan()
    auc = {"all2all": 0.76, "all2one, product": 0.74, "one2one, product": 0.70}
    scores = {name: np.random.default_rng(1).random((40, 2)) for name in auc}
    scores["all2one, product"][:30, 0] = 2.0  # Better than the others, in most requests.
    for model, value in auc.items():
        run = plan.Run("market", model, 1)
        result = _result(plan, comparisons, run, value)
        for part in ("validation", "test"):
            result[part] = {"next_product": result[part]["next_review"]}
        folder = _finish(tmp_path / "build", run, {**result, "reachable": {"next_product": 0.9}})
        requests = ScoredRequests(
            users=np.arange(40), scores=scores[model], labels=np.tile([1, 0], (40, 1)), mask=np.ones((40, 2), bool)
        )
        np.savez(folder / "scores_test_next_product.npz", **vars(requests))
    report.write(tmp_path / "build", comparisons)
    lines = {line.split(" | ")[0][2:]: line for line in report.PAGE.read_text().splitlines() if line.startswith("| ")}
    assert "| **0.7600** | 65.0% |  |" in lines["all2all"]
    assert "| **0.7400** | 60.0% | +0." in lines["all2one, product"]
    assert "| **0.7000** | 50.0% | -0." in lines["one2one, product"]
    assert "to all2one, product |" in lines["one2one, product"]
    assert "to all" not in lines["all2one, product"]
    rows = json.loads(report.DATA.read_text())
    assert {row["model"]: row["compared_with"] for row in rows["market"]}["one2one, product"] == "all2one, product"
    for row in rows["market"]:  # As it would be found after the plan has changed.
        row["compared_with"] = "all2one, query"
    report.DATA.write_text(json.dumps(rows))
    report.write(tmp_path / "nowhere", comparisons)
    assert "to all2one" not in report.PAGE.read_text()


def test_a_training_on_the_targets_of_validation_shows_no_validation(plan: Any, report: Any, tmp_path: Path) -> None:
    comparisons = plan.load_plan()
    run = plan.Run("amazon_sports_last", "timeline_atrank", 1)
    result = _result(plan, comparisons, run, 0.86)
    del result["validation"], result["epochs"][0]["validation_auc"]
    _finish(tmp_path / "build", run, result)
    report.write(tmp_path / "build", comparisons)
    page = report.PAGE.read_text()
    assert "| timeline_atrank | 1 |  | **0.8600** |  | 0.8600 |" in page
    assert "![" not in page


@pytest.mark.slow
def test_a_run_is_scored_on_validation_and_test(records: Records, run_command: Any, tmp_path: Path) -> None:
    experiment = {
        "model": {"name": "bpr_mf", "hidden_dim": 4, "tasks": ["next_purchase"]},
        "training": {"epochs": 1},
    }
    run = {"experiment": experiment, "records": records.path, "truth": "", **OF_TASK}
    (tmp_path / "run.json").write_text(json.dumps(run))
    before = datetime.now(UTC).date()
    done = run_command("experiments/one_run.py", tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["records"] == records.manifest["fingerprint"]
    assert before <= date.fromisoformat(result["date"]) <= datetime.now(UTC).date()
    for part, key in (("validation", "validation_auc"), ("test", "test_auc")):
        assert 0 <= result[part]["next_purchase"]["user_auc"][0] <= 1
        assert 0 <= result["epochs"][0][key] <= 1
        assert (tmp_path / f"scores_{part}_next_purchase.npz").exists()
    assert result["best_on_test"] == result["epochs"][0]["test_auc"]


@pytest.mark.slow
def test_lightgbm_may_take_the_place_of_a_model(hotels: Records, run_command: Any, tmp_path: Path) -> None:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    experiment = {"model": {"name": "average_pooling"}}
    run = {"experiment": experiment, "records": hotels.path, "truth": "", **OF_TASK, "trees": True}
    (tmp_path / "run.json").write_text(json.dumps(run))
    done = run_command("experiments/one_run.py", tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    auc, error = result["test"]["next_click"]["user_auc"]
    assert auc > 0.75 + 3 * error
    assert result["epochs"][0]["validation_auc"] == result["validation"]["next_click"]["user_auc"][0]
    assert result["parameters"] > 10
    assert (tmp_path / "scores_test_next_click.npz").exists()


@pytest.mark.slow
def test_a_run_may_rank_the_whole_catalog(
    records: Records, run_command: Any, plan: Any, report: Any, tmp_path: Path
) -> None:
    comparison = plan.Comparison(
        title="t",
        logs="l",
        schema="s",
        seeds=(1, 2),
        models={name: plan.Model(file="market.toml", against="a") for name in "ab"},
        against="a",
        candidates="catalog",
        exclude_history=True,
    )
    every = [plan.Run("c", name, seed) for name in "ab" for seed in (1, 2)]
    model = {"name": "bpr_mf", "hidden_dim": 4, "tasks": ["next_purchase"]}
    run = {"experiment": {"model": model, "training": {"epochs": 1}}, "records": records.path, "truth": ""}
    folder = tmp_path / every[0].folder
    folder.mkdir(parents=True)
    catalog = {"candidates": "catalog", "exclude_history": True, "trees": False}
    (folder / "run.json").write_text(json.dumps({**run, **catalog}))
    done = run_command("experiments/one_run.py", folder)
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "result.json").read_text())
    assert set(result["test"]["next_purchase"]) == set(result["validation"]["next_purchase"]) == set(CATALOG_METRICS)
    assert result["candidates"] == "catalog"
    assert result["exclude_history"]
    with np.load(folder / "ranks_test_next_purchase.npz") as arrays:
        ranks = dict(arrays)
    for each in every:
        result |= {"experiment": comparison.models[each.model].experiment(each.seed)}
        (tmp_path / each.folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / each.folder / "result.json").write_text(json.dumps(result))
        better = {"above": np.maximum(ranks["above"] - 2, 0)} if each.model == "b" else {}
        np.savez(tmp_path / each.folder / "ranks_test_next_purchase.npz", **ranks | better)
    plans = {"c": comparison}
    assert report.is_done(tmp_path, every[0], plans)
    assert not report.is_done(tmp_path, every[0], {"c": replace(comparison, exclude_history=False)})
    assert not report.is_done(tmp_path, every[0], {"c": replace(comparison, candidates="task")})
    report.write(tmp_path, plans)
    head, _, _, line = [line for line in report.PAGE.read_text().splitlines() if line.startswith("|")]
    assert head.startswith("| model | seeds | validation NDCG@10 | test NDCG@10 | against a | HR@10 | mean rank |")
    assert re.match(r"\| b \| 2 \| [\d. ±]+ \| \*\*[\d. ±]+\*\* \| \+0\.\d+ ± 0\.\d+ \(0\.002, mean 0\.002\) \|", line)


def test_what_is_ranked_has_one_of_two_names(plan: Any) -> None:
    with pytest.raises(ValueError, match=r'Expected candidates = "task" or "catalog"\. Received: \'all\''):
        plan.Comparison(title="t", logs="l", schema="s", seeds=(1,), models={}, against="a", candidates="all")


def _scored(users: np.ndarray, seed: int, better: float = 0.0) -> ScoredRequests:
    """One positive and three negatives for each user of a request, the scores random."""
    labels = np.tile([1, 0, 0, 0], (len(users), 1))
    scores = np.random.default_rng(seed).normal(size=labels.shape) + better * labels
    return ScoredRequests(users=users, scores=scores, labels=labels, mask=np.ones(labels.shape, bool))


USERS = np.repeat(np.arange(30), np.tile([1, 2, 3], 10))


@pytest.mark.parametrize(
    ("records", "users", "compared"),
    [
        (("a", "a"), USERS, True),
        (("a", "b"), USERS, False),
        ((None, "b"), USERS, True),  # A run of before its result named its records.
        (("a", "a"), USERS + 1, False),
    ],
)
def test_runs_on_other_records_or_requests_are_not_compared(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: Any, users: Any, compared: bool
) -> None:
    comparisons, done = plan.load_plan(), {}
    for model, own, of_users in (("atrank", records[0], USERS), ("din", records[1], users)):
        run = plan.Run("amazon_sports", model, 1)
        done[run] = _result(plan, comparisons, run, 0.8) | ({"records": own} if own else {})
        np.savez(_finish(tmp_path, run, done[run]) / "scores_test_next_review.npz", **vars(_scored(of_users, 1)))
    _program("differences", monkeypatch).add_differences(tmp_path, done, comparisons)
    assert set(done[run]["against"]) == ({"next_review"} if compared else set())


def test_models_of_other_schemas_are_compared_though_their_records_differ(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparisons, done = plan.load_plan(), {}
    for model in ("atrank", "bpr_mf"):
        run = plan.Run("amazon_sports", model, 1)
        done[run] = _result(plan, comparisons, run, 0.8) | {"records": f"of {model}"}
        np.savez(_finish(tmp_path, run, done[run]) / "scores_test_next_review.npz", **vars(_scored(USERS, 1)))
    _program("differences", monkeypatch).add_differences(tmp_path, done, comparisons)
    assert set(done[run]["against"]) == {"next_review"}


def test_the_means_over_all_seeds_are_tested_too(plan: Any, report: Any, tmp_path: Path) -> None:
    comparisons, of_seeds = plan.load_plan(), []
    for seed in (1, 2, 3):
        aucs = []
        for model, better in (("atrank", 0.0), ("din", 0.15)):
            run = plan.Run("amazon_sports", model, seed)
            scored = _scored(USERS, 10 * seed + len(model), better)
            aucs.append(metric_values(scored, "user_auc")[0])
            if model == "din":  # A model of other groups has them in another order.
                order = np.random.default_rng(seed).permutation(len(USERS))
                scored = replace(scored, users=scored.users[order], scores=scored.scores[order])
            folder = _finish(tmp_path / "build", run, _result(plan, comparisons, run, 0.8))
            np.savez(folder / "scores_test_next_review.npz", **vars(scored))
        of_seeds.append(aucs[1] - aucs[0])
    report.write(tmp_path / "build", comparisons)
    rows = [row for row in json.loads(report.DATA.read_text())["amazon_sports"] if row["model"] == "din"]
    differences, generator = np.mean(of_seeds, axis=0), np.random.default_rng(0)
    drawn = np.array([differences[generator.integers(30, size=30)].mean() for _ in range(1000)])
    p_value = 2 * (min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1) / 1001
    assert 0.01 < p_value < 0.9
    assert [row["against"]["next_review"]["p_of_means"] for row in rows] == [pytest.approx(p_value)] * 3
    largest = max(row["against"]["next_review"]["p_value"] for row in rows)
    assert f" ({largest:.3f}, mean {p_value:.3f}) | " in report.PAGE.read_text()
    del rows[0]["against"]["next_review"]["p_of_means"]  # As if it had been made again elsewhere.
    report.DATA.write_text(json.dumps({"amazon_sports": rows}))
    report.write(tmp_path / "nowhere", comparisons)
    assert f" ({largest:.3f}) | " in report.PAGE.read_text()


def test_a_run_whose_experiment_has_changed_begins_anew(
    plan: Any, report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparisons, run = plan.load_plan(), plan.Run("amazon_sports", "din", 1)
    other = {"experiment": {"model": {"name": "din", "hidden_dim": 3}}}
    folder = _finish(tmp_path / "build", run, _result(plan, comparisons, run, 0.84) | other)
    (folder / "run.json").write_text(json.dumps(other))
    assert not report.is_done(tmp_path / "build", run, comparisons)
    trainings, said = _program("trainings", monkeypatch), []
    monkeypatch.setattr(trainings, "FOLDER", tmp_path)  # Where there is no one_run.py.
    trainings.train_all(tmp_path / "build", [run], comparisons, 1, said.append)
    assert said[0].startswith(f"{run}: FAILED after 0.0 min, see ")
    assert sorted(path.name for path in folder.iterdir()) == ["log.txt", "run.json"]


@pytest.mark.parametrize(("name", "told"), [("amazon_sports", "user_auc"), ("taobao", "ndcg@10")])
def test_what_a_run_has_reached_is_told_by_the_metric_of_its_comparison(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    comparisons, said = plan.load_plan(), []
    run = next(each for each in plan.runs(comparisons) if each.comparison == name)
    trainings = _program("trainings", monkeypatch)
    result = {"test": {"next_a": {told: [0.25, 0.01]}}}
    (tmp_path / "one_run.py").write_text(
        f"import pathlib, sys\npathlib.Path(sys.argv[1], 'result.json').write_text({json.dumps(result)!r})\n"
    )
    monkeypatch.setattr(trainings, "FOLDER", tmp_path)
    trainings.train_all(tmp_path / "build", [run], comparisons, 1, said.append)
    assert said == [f"{run}: test {told} next_a 0.2500, 0.0 min", "  0 to go"]


@pytest.fixture
def killed_while_writing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, whoever writes a text is killed in the middle of it."""

    whole = tf.io.gfile.GFile.write

    def write(file: Any, text: str) -> None:
        whole(file, text[: len(text) // 2])
        file.flush()
        raise KeyboardInterrupt

    return lambda: monkeypatch.setattr(tf.io.gfile.GFile, "write", write)


def test_a_kill_leaves_the_notes_of_the_epochs_whole(
    tmp_path: Path, killed_while_writing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, epochs = tmp_path / "epochs.json", [{"seconds": 1.0}]
    path.write_text(json.dumps(epochs))
    watch = _program("one_run", monkeypatch).Watch(path, None)
    watch.on_epoch_begin(1)
    killed_while_writing()
    with pytest.raises(KeyboardInterrupt):
        watch.on_epoch_end(1)
    assert json.loads(path.read_text()) == epochs


def test_a_kill_leaves_what_a_run_is_whole(
    plan: Any, tmp_path: Path, killed_while_writing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparisons, run = plan.load_plan(), plan.Run("amazon_sports", "din", 1)
    settings = {"experiment": comparisons["amazon_sports"].models["din"].experiment(1)}
    (tmp_path / run.folder).mkdir(parents=True)
    (tmp_path / run.folder / "run.json").write_text(json.dumps(settings))
    trainings = _program("trainings", monkeypatch)
    killed_while_writing()
    with pytest.raises(KeyboardInterrupt):
        trainings.train_all(tmp_path, [run], comparisons, 1, str)
    assert json.loads((tmp_path / run.folder / "run.json").read_text()) == settings


def test_a_task_without_an_auc_does_not_count_in_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    mean_auc = _program("one_run", monkeypatch).mean_auc
    logs = {"val_a_auc": 0.6, "val_b_auc": math.nan, "val_c_auc": None, "val_d_auc": 0.8, "a_auc": 0.9, "val_loss": 1.0}
    assert mean_auc(logs, "val_") == pytest.approx(0.7)
    assert mean_auc({"auc": 0.6, "loss": 1.0}) == 0.6
    assert math.isnan(mean_auc({"val_auc": None}, "val_"))


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """A copy of the program for a plan of two runs, without their records; `one_run.py` is to be written."""
    folder = tmp_path / "experiments"
    shutil.copytree(ROOT / "experiments", folder, ignore=shutil.ignore_patterns("*.json", "one_run.py"))
    (folder / "plan.toml").write_text(
        '[comparisons.a]\ntitle = "t"\nlogs = "l"\nschema = "s"\nseeds = [1, 2]\nagainst = "c"\n'
        '[comparisons.a.models]\nc = { file = "market.toml" }\n'
    )
    (folder / "program.py").write_text(
        "import signal\n"
        "import run\n"
        "from atrank_tf import command\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # Whatever runs the tests may ignore it.
        "run._prepare = lambda *_: True\n"
        "command.run(run.main)\n"
    )
    return folder


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stop_ends_the_training_too(two_runs: Path, run_command: Any, tmp_path: Path, name: str) -> None:
    (two_runs / "one_run.py").write_text(
        "import os, pathlib, signal, sys, time\n"
        "pathlib.Path(sys.argv[1], 'process').write_text(str(os.getpid()))\n"
        f"os.kill(os.getppid(), signal.{name})\n"
        "time.sleep(60)\n"
    )
    done = run_command(two_runs / "program.py", f"--build={tmp_path / 'build'}")
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert done.stdout == "2 runs, 0 done before\nstopped: the next call goes on from here\n"
    [process] = (tmp_path / "build").rglob("process")  # The second run has not begun.
    with pytest.raises(ProcessLookupError):
        os.kill(int(process.read_text()), 0)


def test_more_workers_than_cores_are_refused(two_runs: Path, run_command: Any, tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    done = run_command(two_runs / "program.py", f"--build={tmp_path / 'build'}", f"--workers={cores + 1}")
    assert done.returncode == 1
    assert f"Expected --workers to be at most the CPU cores, {cores}. Received: {cores + 1}." in done.stderr
    assert not (tmp_path / "build").exists()


def test_a_comparison_against_a_model_that_it_has_not_is_refused(plan: Any, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        '[comparisons.a]\ntitle = "t"\nlogs = "l"\nschema = "s"\nseeds = [1]\nagainst = "b"\n'
        '[comparisons.a.models]\nc = { file = "market.toml" }\n'
    )
    with pytest.raises(ValueError, match=r"Expected a model of \[comparisons\.a\] for against\. Received: 'b'"):
        plan.load_plan(path)
