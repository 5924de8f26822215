"""`make experiments`: every run of the plan can begin, and what is done stays in the page."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Records
from atrank_tf.evaluation import ScoredRequests
from atrank_tf.schema import load_schema
from atrank_tf.training import experiment_from_dict

ROOT = Path(__file__).parents[1]


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
    monkeypatch.delitem(sys.modules, name, raising=False)
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
    other = {**kept, "seed": 3, "experiment": {"model": {"name": "din", "width": 3}}}
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


def test_trials_of_settings_tell_validation_alone(plan: Any, report: Any, tmp_path: Path) -> None:
    comparisons = plan.load_plan()
    assert comparisons["amazon_sports_trials"].tuning
    run = plan.Run("amazon_sports_trials", "din, 14 epochs", 1)
    result = _result(plan, comparisons, run, 0.84)
    del result["test"], result["best_on_test"], result["epochs"][0]["test_auc"]
    _finish(tmp_path / "build", run, result)
    report.write(tmp_path / "build", comparisons)
    page = report.PAGE.read_text()
    assert "| trial | seeds | validation user AUC, next_review | s to best |" in page
    assert "| din, 14 epochs | 1 | 0.8400 | 60 |" in page
    assert "![" not in page


@pytest.mark.parametrize("tuning", [False, True])
def test_a_trial_of_settings_sees_nothing_of_test(
    records: Records, run_command: Any, tmp_path: Path, tuning: bool
) -> None:
    experiment = {
        "model": {"name": "bpr_mf", "width": 4, "tasks": ["next_purchase"]},
        "training": {"epochs": 1},
    }
    run = {"experiment": experiment, "records": records.path, "truth": "", "tuning": tuning}
    (tmp_path / "run.json").write_text(json.dumps(run))
    done = run_command("experiments/one_run.py", tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert {"validation", "test"} & set(result) == ({"validation"} if tuning else {"validation", "test"})
    assert "validation_auc" in result["epochs"][0]
    for found in ("best_on_test" in result, "test_auc" in result["epochs"][0], any(tmp_path.glob("scores_test_*"))):
        assert found != tuning


def test_a_comparison_against_a_model_that_it_has_not_is_refused(plan: Any, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        '[comparisons.a]\ntitle = "t"\nlogs = "l"\nschema = "s"\nseeds = [1]\nagainst = "b"\n'
        '[comparisons.a.models]\nc = { file = "market.toml" }\n'
    )
    with pytest.raises(ValueError, match=r"Expected a model of \[comparisons\.a\] for against\. Received: 'b'"):
        plan.load_plan(path)
