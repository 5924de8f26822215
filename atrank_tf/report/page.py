"""Draws a report as one HTML file that needs nothing else and runs nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from atrank_tf.pages import bars, curve, document, figures, row, row_name, section, share, table, text_cell
from atrank_tf.report.candidate_measures import TARGETS_PER_USER
from atrank_tf.report.checks import LARGE


def page(report: Mapping[str, Any]) -> str:
    """Returns the page; names from logs and schema get into it as text, and a policy lets nothing load or run."""
    return document("What is in the records", _sections(report))


def _sections(report: Mapping[str, Any]) -> Iterator[str]:
    yield section("To look at", _checks(report["checks"]))
    yield section("Files", _files(report["files"]))
    gaps, users = report["gaps"], f"<p>{report['users']:,} users with a behavior or a request.</p>"
    between = bars("Time from one behavior of a user to the next, all groups", list(gaps), {"": list(gaps.values())})
    yield section("Users", users, figures([between]))
    for name, group in report["groups"].items():
        yield section(f"Group {name}", *_group(group))
    for name, task in report["tasks"].items():
        yield section(f"Task {name}", *_task(task))


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    marked = _check_list(check for check in checks if check["look"]) or "<p>Nothing.</p>"
    rest = _check_list(check for check in checks if not check["look"])
    return f"{marked}<details><summary>Checked, and as usual</summary>{rest}</details>"


def _check_list(checks: Iterable[Mapping[str, Any]]) -> str:
    lines = []
    for check in checks:
        about = f'<b class="{"look" if check["look"] else "fine"}">{escape(check["about"])}</b>'
        counts = f"{share(check['found'], check['of'])} ({check['found']:,} of {check['of']:,})"
        lines.append(f"<li>{about} {counts} {escape(check['says'])}</li>")
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _files(files: Mapping[str, Any]) -> str:
    rows = []
    for label, file in files.items():
        rows.append(f"<tr>{row_name(label)}<td>{file['read']:,}</td><td>{file['kept']:,}</td><td></td><td></td></tr>")
        for reason, dropped in file["dropped"].items():
            says = f"{reason} (first: row {dropped['first_row']})"
            rows.append(f"<tr><th></th><td></td><td></td><td>{dropped['rows']:,}</td>{text_cell(says)}</tr>")
        rows += [f"<tr><th></th><td></td><td></td><td></td>{text_cell(note)}</tr>" for note in file["notes"]]
    return table(["file", "rows read", "kept", "dropped", "why"], rows, text={4})


def _group(group: Mapping[str, Any]) -> Iterator[str]:
    behaviors, by_day, per_user = group["behaviors"], group["by_day"], group["per_user"]
    rare = "ids have no table"
    if group["unknown"] is not None:
        rare = f"{share(group['unknown'], behaviors)} are with objects too rare for an embedding of their own"
    yield (
        f"<p>{behaviors:,} behaviors with {group['objects']:,} objects; {rare}. {group['users_cut']:,} users have more "
        f"behaviors than a history keeps ({group['max_length']:,}).</p>"
    )
    dates = np.datetime64(by_day["first"]) + by_day["days"] * np.arange(len(by_day["counts"]))
    each = "day" if by_day["days"] == 1 else f"{by_day['days']} days"
    yield figures(
        [
            bars(f"Behaviors by time, each {each}", [str(date) for date in dates], {"": by_day["counts"]}),
            bars("Behaviors of a user", list(per_user), {"": list(per_user.values())}),
            bars("Actions", list(group["actions"]), {"": list(group["actions"].values())}),
            curve("Share of behaviors with the most frequent share of objects", group["popularity"]),
        ]
    )


def _task(task: Mapping[str, Any]) -> Iterator[str]:
    parts = task["parts"]
    counts: list[tuple[str, str, str | None]] = [
        ("targets", "targets", None),
        ("users", "users", None),
        ("users without a training target", "new_users", "users"),
        ("targets with other behaviors at the same moment", "same_moment", "targets"),
        ("chosen objects that training has not (in training: no other time)", "unseen", "positives"),
    ]
    rows = []
    for says, key, of in counts:
        cells = (f"{part[key]:,}" if of is None else share(part[key], part[of]) for part in parts.values())
        rows.append(row(says, cells))
    for column in next(iter(parts.values()))["unknown"]:
        cells = (share(*part["unknown"].get(column, (0, 0))) for part in parts.values())
        rows.append(row(f"unknown value: {column}", cells))
    yield table(["", *parts], rows)
    yield from _candidates({name: part["candidates"] for name, part in parts.items() if part["candidates"]})
    titles = {
        "outcomes": "Outcomes",
        "popularity": "How often a chosen object was chosen in training",
        "gaps": "Time since the newest behavior",
        "history": "Behaviors in a history",
    }
    first = next(iter(parts.values()))
    series = {key: {name: list(part[key].values()) for name, part in parts.items()} for key in titles}
    yield figures([bars(title, list(first[key]), series[key]) for key, title in titles.items()])
    measures = task["drift"]
    names = dict.fromkeys(name for found in measures.values() for name in found)
    rows = [row(name, (_psi(found.get(name)) for found in measures.values()), raw=True) for name in names]
    if rows:
        yield (
            '<p class="muted">How unlike training a part is, as population stability index. Marked: above '
            f"{LARGE} and above what chance gives.</p>"
        )
        yield table(["", *measures], rows)


def _candidates(parts: Mapping[str, Any]) -> Iterator[str]:
    """Yields what candidates are like; parts without any are left out."""
    if not parts:
        return
    first, sides = next(iter(parts.values())), ("positives", "negatives")
    yield (
        '<p class="muted">What positives and sampled negatives are like, of at most '
        f"{TARGETS_PER_USER} targets of each user. What only positives are gives them away: a model that learns it is "
        "of no use in production.</p>"
    )
    heads = [f"{part}: {side}" for part in parts for side in sides]
    rows = [
        row(name, (share(part[side][name], part[side]["all"]) for part in parts.values() for side in sides))
        for name in first["positives"]
        if name != "all"
    ]
    yield table(["", *heads], rows)
    yield '<p class="muted">User AUC of ranking by a rule of thumb, without any training.</p>'
    rows = [
        row(rule, ("none" if (auc := part["user_auc"][rule]) is None else f"{auc:.4f}" for part in parts.values()))
        for rule in first["user_auc"]
    ]
    yield table(["", *parts], rows)


def _psi(measure: Mapping[str, Any] | None) -> str:
    if measure is None:
        return ""
    return f'<span class="look">{measure["psi"]:.3f}</span>' if measure["drifted"] else f"{measure['psi']:.3f}"
