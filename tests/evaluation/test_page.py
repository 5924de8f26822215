"""The page of an evaluation: everything is told, by name, and no name becomes anything else."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parsed_page import HOSTILE, Page, assert_nothing_loads_or_runs

from atrank_tf.data import Records
from atrank_tf.evaluation import (
    RequestMeasures,
    TaskFindings,
    evaluate,
    page,
    paired_differences,
    score_base_rate,
    score_baselines,
)
from atrank_tf.evaluation.metrics import Estimate
from atrank_tf.evaluation.protocol import score_requests
from atrank_tf.evaluation.slices import Slice
from atrank_tf.experiment import Batching

TASKS = ["next_purchase", "next_redemption"]
HISTORY = [
    {"loss": 0.5, "next_purchase_loss": 0.5, "next_purchase_auc": 0.7 + 0.02 * epoch, "val_next_purchase_auc": 0.71}
    for epoch in range(3)
]
TRAINING = {"history": HISTORY, "reason": f"Epoch 2 of 0 to 2 is kept: {HOSTILE}."}


@pytest.fixture(scope="module")
def findings(records: Records) -> dict[str, TaskFindings]:
    """Of rankings by the candidates' rows, beside another ranker and the rules of thumb."""
    settings = Batching()

    def by_row(task: str, inputs: Any, users: np.ndarray) -> np.ndarray:
        scores: np.ndarray = inputs[f"{task}__candidates"].numpy() / 7.0
        return scores

    rankers = {HOSTILE: by_row, "against": lambda *request: -by_row(*request)}
    scored = score_requests(rankers, TASKS, records, "test", settings)
    measures = RequestMeasures(records, scored)
    rules = score_baselines(records, "test", TASKS, settings, watch=measures)
    rates = {task: score_base_rate(found) for task, found in scored[HOSTILE].items()}
    every = {**scored, **rules, "base rate": rates}
    results = {name: {task: evaluate(each) for task, each in tasks.items()} for name, tasks in every.items()}
    differences = {task: paired_differences(scored[HOSTILE][task], scored["against"][task]) for task in TASKS}
    return measures.findings(
        results, "against", differences, dict.fromkeys(TASKS, f"log_loss: {HOSTILE}."), probabilities=True
    )


def _label(group: str, rows: Sequence[int]) -> list[str]:
    return [f"{HOSTILE} of {group} {row}" for row in rows]


@pytest.fixture(scope="module")
def text(findings: dict[str, TaskFindings]) -> str:
    return page(HOSTILE, findings, TRAINING, _label)


def test_every_tag_is_closed_and_everything_is_told(text: str, findings: dict[str, TaskFindings]) -> None:
    found = Page(text)
    assert found.open == []
    said = " ".join(found.texts)
    for task in TASKS:
        for heading in ("Task", "Where it is good:", "Probabilities:", "Worst requests:"):
            assert f"{heading} {task}" in said
        for rows in findings[task].rows.values():
            for estimate in rows.values():
                assert f"{estimate.value:.4f} ±{estimate.standard_error:.4f}" in said
        for slices in findings[task].slices.values():
            for each in slices:
                assert each.label in said and f"{each.count:,}" in said
        assert f"{findings[task].differences['user_auc'].difference:+.4f}" in said
    drawn = sum(len(found.slices) + 1 for found in findings.values())  # And calibration.
    assert [tag for tag, _ in found.tags].count("svg") == drawn + 2  # AUC and loss of the task of which they are known.


def test_requests_are_told_by_name_with_what_was_chosen(text: str, findings: dict[str, TaskFindings]) -> None:
    said = " ".join(Page(text).texts)
    request = findings["next_purchase"].worst[0]
    assert request.user in said
    chosen = int(request.candidates[request.chosen][0])
    assert f"{HOSTILE} of purchase {chosen}" in said
    assert said.count("✓ chosen") == sum(
        min(5, int(request.chosen.sum())) for found in findings.values() for request in (*found.worst, *found.best)
    )


def test_a_hostile_name_stays_a_name_and_nothing_loads_or_runs(text: str) -> None:
    assert not {"script", "img"} & {tag for tag, _ in Page(text).tags}
    assert HOSTILE in " ".join(Page(text).texts)
    assert_nothing_loads_or_runs(text)


def test_a_model_that_a_rule_beats_is_marked(findings: dict[str, TaskFindings]) -> None:
    found, marked = findings["next_purchase"], "No training was needed for that"
    for value, expected in ((0.1, True), (1.0, False)):
        of_model = found.rows["base rate"]
        of_model = {**of_model, "user_auc": dataclasses.replace(of_model["user_auc"], value=value)}
        other = dataclasses.replace(found, rows={"model": of_model} | dict(found.rows), slices={})
        assert (marked in page("", {"next_purchase": other}, TRAINING, _label)) == expected


def test_a_model_that_is_not_ahead_of_what_it_is_compared_with_is_marked(findings: dict[str, TaskFindings]) -> None:
    found = findings["next_purchase"]
    for difference, expected in ((-0.01, True), (0.0, True), (0.01, False)):
        lead = dataclasses.replace(found.differences["user_auc"], difference=difference)
        other = dataclasses.replace(found, differences={**found.differences, "user_auc": lead}, slices={})
        said = page("", {"next_purchase": other}, TRAINING, _label)
        assert (f"The model is not ahead: {difference:+.4f}" in said) == expected


def test_the_weakest_kind_that_is_named_is_no_rare_one(findings: dict[str, TaskFindings]) -> None:
    def of_kind(label: str, count: int, auc: float) -> Slice:
        means = {metric: Estimate(auc, 0.01, count) for metric in ("auc", "mrr")}
        return Slice(label, count, {"model": means}, {"model": means})

    slices = {"Kind": [of_kind("many", 1_000, 0.8), of_kind("some", 40, 0.6), of_kind("few", 25, 0.1)]}
    rows = {"model": findings["next_purchase"].rows[HOSTILE]}
    found = dataclasses.replace(findings["next_purchase"], rows=rows, rules=(), slices=slices)
    said = " ".join(Page(page("", {"next_purchase": found}, TRAINING, _label)).texts)
    assert "Weakest: kind, some: AUC 0.6000 ±0.0100 of 40 requests." in said


def test_what_is_not_known_is_left_out(findings: dict[str, TaskFindings]) -> None:
    bare = dataclasses.replace(
        findings["next_purchase"], rules=(), differences={}, slices={}, worst=(), best=(), calibration=()
    )
    found = Page(page("", {"next_purchase": bare}, {}, _label))
    assert found.open == [] and "svg" not in {tag for tag, _ in found.tags}
    assert "Nothing is known of it." in " ".join(found.texts)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width", "scheme"), [("desktop", 1280, "light"), ("phone", 390, "dark")])
def test_in_a_browser_nothing_is_refused_and_it_fits(
    browser: Any, text: str, tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    path = tmp_path / "evaluation.html"
    path.write_text(text)
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab, complaints = context.new_page(), []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    tab.on("request", lambda request: request.url in (path.as_uri(), "data:,") or complaints.append(request.url))
    tab.goto(path.as_uri())
    for summary in tab.locator("summary").all():
        summary.click()
    assert tab.locator("details[open]").count() == 4
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    screenshots = Path(__file__).parents[2] / "build/screenshots"
    screenshots.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=screenshots / f"evaluation_{name}.png", full_page=True)
    context.close()
    assert complaints == []
