"""The page that `evaluate` writes: how good a model is, where, and on what, to be looked at first."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from atrank_tf.evaluation.calibration import CalibrationPoint
from atrank_tf.evaluation.extreme_requests import RankedRequest
from atrank_tf.evaluation.metrics import Estimate
from atrank_tf.evaluation.significance import PairedDifference
from atrank_tf.evaluation.slices import Slice, best_rule
from atrank_tf.pages import against_diagonal, document, dots, figures, lines, row, section, table

Label = Callable[[str, Sequence[int]], Sequence[str]]
"""Function (group, rows of the catalog) -> what objects are called."""
_AUC = "user_auc"
_LARGE, _FEWEST = 0.02, 30
"""Share of all requests, and number of them, from which on a kind may be named as the weakest."""
_SHOWN = 5
"""Candidates that are shown of a request, besides those that were chosen."""


@dataclasses.dataclass(frozen=True)
class TaskFindings:
    """What the page of an evaluation shows of one task.

    Attributes:
        group: the group that is ranked.
        rows: ranker -> metric -> value and error; the model first.
        rules: which of them are rules of thumb.
        beside: which of them the model is compared with; "" for none.
        differences: metric -> the model's difference to it.
        remark: what its log-loss is worth.
        slices: kind -> requests of that kind.
        worst, best: requests to look at.
        calibration: predicted and observed shares of positives; empty if scores are no logits of probabilities.
    """

    group: str
    rows: Mapping[str, Mapping[str, Estimate]]
    rules: Sequence[str]
    beside: str
    differences: Mapping[str, PairedDifference]
    remark: str
    slices: Mapping[str, Sequence[Slice]]
    worst: Sequence[RankedRequest]
    best: Sequence[RankedRequest]
    calibration: Sequence[CalibrationPoint]


def page(about: str, tasks: Mapping[str, TaskFindings], training: Mapping[str, Any], label: Label) -> str:
    """Returns the page; names from logs get into it as text, and a policy lets nothing load or run.

    Args:
        about: what was evaluated: a line.
        tasks: task -> what is known of it.
        training: `history` and `reason` of `training.json`.
        label: what objects are called.
    """
    return document("How good the model is", _sections(about, tasks, training, label))


def _sections(
    about: str, tasks: Mapping[str, TaskFindings], training: Mapping[str, Any], label: Label
) -> Iterator[str]:
    yield section("In short", f'<p class="muted">{escape(about)}</p>', *(_short(*each) for each in tasks.items()))
    for task, found in tasks.items():
        yield section(f"Task {task}", *_metrics(found))
        if found.slices:
            yield section(f"Where it is good: {task}", *_slices(found))
        if found.calibration:
            yield section(f"Probabilities: {task}", *_calibration(found.calibration))
        if found.worst:
            best = _requests(found.group, found.best, label)
            yield section(
                f"Worst requests: {task}",
                '<p class="muted">By the probability that the scores give to what was chosen, one of each user. '
                "Behind a name its score.</p>",
                _requests(found.group, found.worst, label),
                f"<details><summary>The best requests</summary>{best}</details>",
            )
    yield section("Training", *_training(tasks, training))


def _short(task: str, found: TaskFindings) -> str:
    model, of_model = next(iter(found.rows.items()))
    says = f"<b>{escape(task)}</b>: {escape(model)} has a user AUC of {_cell(of_model[_AUC])}"
    rules = {rule: found.rows[rule][_AUC].value for rule in found.rules if rule in found.rows}
    known = {rule: value for rule, value in rules.items() if not math.isnan(value)}
    if known:
        best = max(known, key=lambda rule: known[rule])
        says += f"; the best rule of thumb, {escape(best)}, {known[best]:.4f}; a random order 0.5."
        if known[best] >= of_model[_AUC].value:
            says += ' <span class="look">No training was needed for that: see which requests it ranks worse.</span>'
    if found.beside in found.rows:
        says += f" {escape(found.beside)} has {_cell(found.rows[found.beside][_AUC])}."
        lead = found.differences.get(_AUC)
        if lead and lead.difference <= 0:
            says += f' <span class="look">The model is not ahead: {lead.difference:+.4f}, p {lead.p_value:.3f}.</span>'
    weak = _weakest(model, found.slices)
    if weak:
        kind, each = weak
        says += f" Weakest: {escape(kind[0].lower() + kind[1:])}, {escape(each.label)}: AUC "
        says += f"{_cell(each.means[model]['auc'])} of {each.count:,} requests."
    return f"<p>{says}</p>"


def _weakest(model: str, slices: Mapping[str, Sequence[Slice]]) -> tuple[str, Slice] | None:
    """Returns the kind of requests with the lowest AUC, of those that are no rare ones; None without any."""
    most = max((sum(each.count for each in of_kind) for of_kind in slices.values()), default=0)
    large = [
        (kind, each)
        for kind, of_kind in slices.items()
        for each in of_kind
        if each.count >= max(_LARGE * most, _FEWEST)
    ]
    return min(large, key=lambda pair: pair[1].means[model]["auc"].value, default=None)


def _metrics(found: TaskFindings) -> Iterator[str]:
    metrics = list(next(iter(found.rows.values())))
    rows = [row(name, (_cell(estimates[metric]) for metric in metrics)) for name, estimates in found.rows.items()]
    if found.differences:
        known = [found.differences.get(metric) for metric in metrics]
        cells = (f"{d.difference:+.4f} ±{d.standard_error:.4f}" if d else "" for d in known)
        rows.append(row(f"difference to {found.beside}", cells))
        rows.append(row("p", (f"{d.p_value:.3f}" if d else "" for d in known)))
    yield table(["", *metrics], rows)
    counts = {metric: next(iter(found.rows.values()))[metric].count for metric in metrics}
    yield (
        f'<p class="muted">Value and standard error, of {counts[_AUC]:,} users, {counts["log_loss"]:,} candidates and '
        f"{counts['mrr']:,} requests. Below the model: rules of thumb, which need no training. "
        f"{escape(found.remark)}</p>"
    )


def _slices(found: TaskFindings) -> Iterator[str]:
    model = next(iter(found.rows))
    rule = best_rule(found.slices, [name for name in found.rules if name in found.rows])
    known = next(iter(found.slices.values()))[0].means
    names = [name for name in (model, rule, found.beside) if name in known]
    yield (
        '<p class="muted">AUC within a request (how many pairs of a chosen and another candidate are in order) with '
        "its standard error, by kind of request; at the right the number of requests. For comparison: "
        f"{escape(' and '.join(names[1:]))}.</p>"
    )
    charts, rows = [], []
    for kind, slices in found.slices.items():
        drawn = [(each.label, f"{each.count:,}", [_pair(each.means[name]["auc"]) for name in names]) for each in slices]
        charts.append(dots(kind, names, drawn))
        rows.append(row(kind, [""] * 3 * len(names)))
        for each in slices:
            cells = [f"{each.count:,}"]
            for metric in ("auc", "mrr"):
                cells += [_cell(each.means[name][metric]) for name in names]
            cells += [_cell(each.differences[name]["auc"], "+") for name in names[1:]]
            rows.append(row(f"\u2003{each.label}", cells))
    yield figures(charts)
    heads = ["", "requests", *(f"AUC, {name}" for name in names), *(f"MRR, {name}" for name in names)]
    heads += [f"AUC, difference to {name}" for name in names[1:]]
    yield f"<details><summary>The same as numbers, with MRR and differences</summary>{table(heads, rows)}</details>"


def _calibration(points: Sequence[CalibrationPoint]) -> Iterator[str]:
    total = sum(point.candidates for point in points)
    off = sum(point.candidates * abs(point.predicted - point.observed) for point in points) / total
    yield (
        '<p class="muted">Candidates by predicted probability, and how many of them were chosen: on the line the two '
        f"are equal. They are {off:.2%} apart in the mean over candidates.</p>"
    )
    drawn = [
        (p.predicted, p.observed, f"{p.predicted:.2%} predicted, {p.observed:.2%} chosen, of {p.candidates:,}")
        for p in points
    ]
    rows = [row(f"{p.predicted:.2%}", (f"{p.observed:.2%}", f"{p.candidates:,}")) for p in points]
    yield figures(
        [
            against_diagonal("Share that was chosen (upward), by predicted probability", drawn),
            table(["predicted", "chosen", "candidates"], rows),
        ]
    )


def _requests(group: str, requests: Sequence[RankedRequest], label: Label) -> str:
    return figures(_request(group, request, label) for request in requests)


def _request(group: str, request: RankedRequest, label: Label) -> str:
    at = np.flatnonzero(request.chosen)
    shown = sorted({*range(min(_SHOWN, len(request.candidates))), *at[:_SHOWN].tolist()})
    names = label(group, request.candidates[shown].tolist())
    items = []
    for place, name in zip(shown, names, strict=True):
        says = f'{escape(name)} <span class="muted">{request.scores[place]:.2f}</span>'
        mark = ' <span class="look">✓ chosen</span>' if request.chosen[place] else ""
        items.append(f'<li value="{place + 1}">{says}{mark}</li>')
    before = []
    for (behaved, day), some in groupby(request.newest, lambda each: (each.group, _day(each.timestamp))):
        before.append(f"{behaved} {day}: {', '.join(label(behaved, [each.object for each in some]))}")
    more = request.behaviors - len(request.newest)
    history = "; ".join(before) + (f"; and {more:,} more" if more else "") if before else "nothing"
    of = f"{len(request.candidates):,} candidates, the chosen at {', '.join(f'{place + 1:,}' for place in at[:_SHOWN])}"
    return (
        f"<article><p><b>{escape(request.user)}</b>, {_day(request.now)}: {of}.</p><ol>{''.join(items)}</ol>"
        f'<p class="muted">Before: {escape(history)}.</p></article>'
    )


def _training(tasks: Mapping[str, TaskFindings], training: Mapping[str, Any]) -> Iterator[str]:
    history = training.get("history") or []
    if training.get("reason"):
        yield f"<p>{escape(str(training['reason']))}</p>"
    labels = [str(epoch.get("epoch", place)) for place, epoch in enumerate(history)]
    charts = []
    for what, title in (("auc", "AUC within a request, by epoch"), ("loss", "Loss, by epoch")):
        for task in tasks:
            own = what if len(tasks) == 1 and history and what in history[0] else f"{task}_{what}"
            series = {
                name: [epoch.get(f"{prefix}{own}") for epoch in history]
                for name, prefix in (("training", ""), ("validation", "val_"))
            }
            series = {name: values for name, values in series.items() if any(value is not None for value in values)}
            charts.append(lines(f"{task}: {title}", labels, series) if labels else "")
    yield figures(charts) if any(charts) else "<p>Nothing is known of it.</p>"


def _cell(estimate: Estimate, sign: str = "") -> str:
    return f"{estimate.value:{sign}.4f} ±{estimate.standard_error:.4f}"


def _pair(estimate: Estimate) -> tuple[float, float] | None:
    return None if math.isnan(estimate.value) else (estimate.value, estimate.standard_error)


def _day(timestamp: int) -> str:
    return str(np.datetime64(timestamp, "s").astype("datetime64[D]"))
