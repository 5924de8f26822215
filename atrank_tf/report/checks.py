"""What a person should look at before training: leakage, ties, candidates, empty parts, and drift.

Drift is whether what is validated on is like what is trained on. Its measure is the population stability index of two
histograms over the same bins, of shares p and q:

    PSI = sum over bins of (p - q) ln(p / q)

Below 0.1 nothing has changed, above 0.25 much has: the usual reading. A drift is a PSI above 0.25 that is also above
what chance gives once in a thousand times. By chance alone PSI / (1/n + 1/m) of n and m observations is about
chi-squared with one degree of freedom fewer than bins. What one user does is alike, so an observation is a user, not a
target.

References:
    B. Yurdakul: Statistical Properties of Population Stability Index. Western Michigan University, 2018.
    E. B. Wilson, M. M. Hilferty: The Distribution of Chi-square. PNAS 17, 1931 (its quantiles).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from atrank_tf.data.records import DUPLICATE
from atrank_tf.report.bins import NUMBERS
from atrank_tf.report.candidate_measures import CHOSEN_BEFORE, UNSEEN
from atrank_tf.schema import Candidates, Schema, Ties

LARGE = 0.25
"""The least PSI that is a drift."""
_GIVEN_AWAY = 20
"""How many times as large the share of positives with a property must be as that of negatives to give them away."""
_TOLD = 0.05
"""Least difference between training and validation of how much likelier a chosen id is known than one that was left."""
_ONCE_IN_A_THOUSAND = 3.09
"""Of the normal distribution, in standard deviations above its mean."""


def checks(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the checks, as JSON types.

    Each has `about`, what it is of; `found` and `of`, two counts; `says`, what was counted and what it means; `look`,
    whether it is more than it should be.
    """
    keys = ("about", "found", "of", "says", "look")
    return [dict(zip(keys, check, strict=True)) for check in (*_of_timelines(report), *_of_tasks(report))]


def _of_timelines(report: Mapping[str, Any]) -> Iterator[tuple[str, int, int, str, bool]]:
    for label, file in report["files"].items():
        repeated = file["dropped"].get(DUPLICATE, {"rows": 0})["rows"]
        if label.startswith("behaviors/"):
            yield (
                label,
                repeated,
                file["read"],
                "exact duplicates, dropped. Was the log joined or sent twice? If they are real repeats, as of units in "
                f"a basket: keep_duplicates = true in [groups.{label.removeprefix('behaviors/')}]",
                repeated > 0.01 * file["read"],
            )
    for name, group in report["groups"].items():
        behaviors = group["behaviors"]
        yield (
            f"group {name}",
            group["future"],
            behaviors,
            "behaviors after the moment of prepare. Are these times in UTC, and of things that have happened?",
            group["future"] > 0,
        )
        yield (
            f"group {name}",
            group["midnights"],
            behaviors,
            "behaviors at midnight UTC. If nearly all are, the log knows days only, not what came first on a day",
            False,
        )
        if group["bare"] is not None:
            says = "behaviors with objects of which no side feature is known"
            look = group["bare"] > 0.5 * behaviors
            if look:
                says += ". Are the ids of the catalog written as those of the log?"
            yield f"group {name}", group["bare"], behaviors, says, look
        if len(report["groups"]) > 1:
            own = sum(group["per_user"].values()) - group["per_user"][NUMBERS.labels[0]]
            possible = min(own, group["users_of_others"])
            says = "users who are in another group, too, of as many as could be"
            look = group["users_elsewhere"] < 0.05 * possible
            if look:
                says += ". Are the users of all logs written in the same way?"
            yield f"group {name}", group["users_elsewhere"], possible, says, look
    alike = report["users_of_one_moment"]
    yield (
        "users",
        alike,
        report["users"],
        "users with several behaviors, all of one moment: none has a history. Are these times of what they did, or of "
        "an import?",
        alike > 0.01 * report["users"],
    )


def _of_tasks(report: Mapping[str, Any]) -> Iterator[tuple[str, int, int, str, bool]]:
    for task, content in report["tasks"].items():
        strict = content["ties"] == Ties.STRICT
        tied = 'those of its group that come earlier in the log are its history. Of a basket: take ties = "strict"'
        if strict:
            tied = "left out of its history, and no leak"
        for part, counts in content["parts"].items():
            about, targets = f"{task}, {part}", counts["targets"]
            if not targets:
                yield about, 0, 0, "targets: this part is empty. [split] of the schema says where it begins", True
                continue
            same = counts["same_moment"]
            look = not strict and same > 0.2 * targets
            yield about, same, targets, f"targets with other behaviors at the same moment: {tied}", look
            if part == "training":
                nearly = 0.95
                blank = [column for column, (unknown, of) in counts["unknown"].items() if unknown > nearly * of]
                says = "columns unknown in nearly all targets"
                if blank:
                    says += (
                        f": {', '.join(blank)}. Are the ids of the catalog written as those of the log, and is the "
                        "min_count of the table small enough?"
                    )
                yield about, len(blank), len(counts["unknown"]), says, bool(blank)
                yield _of_size(about, counts["positives"], content["parts"]["validation"]["positives"])
            else:
                unseen, chosen = counts["unseen"], counts["positives"]
                says = (
                    "chosen objects that were never chosen in training. A model knows such by their side features alone"
                )
                yield about, unseen, chosen, says, unseen > 0.2 * chosen
                yield about, counts["new_users"], counts["users"], "users without a training target", False
            if counts["candidates"]:
                yield from _of_candidates(about, counts["candidates"], part)
        yield from _of_known_ids(task, content["parts"])
        for part, measures in content["drift"].items():
            drifted = [name for name, measure in measures.items() if measure["drifted"]]
            says = "measures unlike training"
            if drifted:
                says += f": {', '.join(drifted)}. Is the log the same throughout? The charts of the task show each"
            yield f"{task}, {part}", len(drifted), len(measures), says, bool(drifted)


def _of_size(about: str, training: int, validation: int) -> tuple[str, int, int, str, bool]:
    """Returns how many positives training has, of its own and those of validation."""
    says = "positives of training and validation that are in training"
    few = training < validation
    if few:
        says += (
            ". So most of what is known is for validation. Let validation begin later, or, when all is chosen, train "
            "once more on both: train --include_validation"
        )
    return about, training, training + validation, says, few


def _of_candidates(about: str, counts: Mapping[str, Any], part: str) -> Iterator[tuple[str, int, int, str, bool]]:
    """Yields what many positives are and hardly any negative is, which gives them away."""
    advice = {
        CHOSEN_BEFORE: 'To draw such negatives: exclude = "same_moment" and history in the task\'s negatives',
        UNSEEN: "To draw such negatives: unseen = true in the task's negatives",
    }
    positives, negatives = counts["positives"], counts["negatives"]
    # What training has never seen is no positive of training.
    for name in (CHOSEN_BEFORE, UNSEEN) if part != "training" else (CHOSEN_BEFORE,):
        of_negatives = negatives[name] / max(1, negatives["all"])
        says = f"positives {name}; of sampled negatives {of_negatives:.2%} are"
        given_away = positives[name] > max(0.01, _GIVEN_AWAY * of_negatives) * positives["all"]
        if given_away:
            says += f". So what was {name} is nearly always the positive, unlike in production. {advice[name]}"
        yield about, positives[name], positives["all"], says, given_away


def _of_known_ids(task: str, parts: Mapping[str, Any]) -> Iterator[tuple[str, int, int, str, bool]]:
    """Yields whether the choices of training made its ids known, which those of validation did not."""
    known = [parts[part]["known"] for part in ("training", "validation")]
    if not all(known) or not all(of for each in known for _, of in each.values()):
        return
    shares = [{what: found / of for what, (found, of) in each.items()} for each in known]
    training, validation = shares
    told = training["chosen"] - training["left"] - (validation["chosen"] - validation["left"])
    says = (
        f"chosen candidates whose id is known; of those left {training['left']:.1%}. In validation "
        f"{validation['chosen']:.1%} and {validation['left']:.1%}"
    )
    # As if one more were known and one more not, so that a few are no certainty.
    likely = [((found + 1) / (of + 2), of + 2) for each in known for found, of in each.values()]
    look = abs(told) > max(_TOLD, 3 * math.sqrt(sum(share * (1 - share) / of for share, of in likely)))
    if look:
        says += (
            ". So what made the ids known is what is to be predicted, and an embedding of each may be worth little "
            "later. Try it without a table of the ids, so that objects are known by their columns alone: docs/lists.md"
        )
    yield f"{task}, training", *known[0]["chosen"], says, look


def stability_index(expected: Sequence[int], found: Sequence[int]) -> float:
    """Returns the PSI of two histograms over the same bins.

    Each is mixed with half an observation per bin, of both together: so a bin that is empty in one does not make it
    infinite, and rare bins do not make it jump. 0 where one of them has nothing.
    """
    counts = np.array([expected, found], np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    sizes = counts.sum(axis=1, keepdims=True)
    if not sizes.all():
        return 0.0
    together = (counts / sizes).mean(axis=0)
    mixed = counts.shape[1] / 2
    p, q = (counts + mixed * together) / (sizes + mixed)
    return float(((p - q) * np.log(p / q)).sum())


def chance(bins: int, users: Sequence[int]) -> float:
    """Returns the PSI that two groups of users drawn from the same exceed once in a thousand times."""
    freedom = max(1, bins - 1)
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + _ONCE_IN_A_THOUSAND * math.sqrt(spread)) ** 3
    return quantile * sum(1 / count for count in users)


def drift(training: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Compares two parts of a task's targets, as `TargetMeasures` counted them.

    Compared are the actions (of impressions, how many are chosen), how often the chosen objects were chosen in
    training, the time since the newest behavior, and the share of unknown values of each column. The length of
    histories is not: what is later has more before it.

    Returns:
        What was compared -> `psi`, `chance`, `drifted`.
    """
    users = [training["users"], other["users"]]
    if not all(users):
        return {}
    found = {}
    for name, expected, actual in _histograms(training, other):
        bins = sum(a + b > 0 for a, b in zip(expected, actual, strict=True))
        psi, most = stability_index(expected, actual), chance(bins, users)
        found[name] = {"psi": round(psi, 4), "chance": round(most, 4), "drifted": psi > max(LARGE, most)}
    return found


def _histograms(training: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, list[int], list[int]]]:
    for name in ("outcomes", "popularity", "gaps"):
        yield name, list(training[name].values()), list(other[name].values())
    for column, (unknown, of) in training["unknown"].items():
        others, of_others = other["unknown"].get(column, (0, 0))
        yield f"unknown {column}", [unknown, of - unknown], [others, of_others - others]


def drift_warning(report: Mapping[str, Any], tasks: Sequence[str]) -> str | None:
    """Returns one line on where the validation data of these tasks has drifted from the training data, or None."""
    drifted = [
        f"{task}, {name} (PSI {measure['psi']:.2f})"
        for task in tasks
        for name, measure in report["tasks"][task]["drift"]["validation"].items()
        if measure["drifted"]
    ]
    if not drifted:
        return None
    return f"Validation data is unlike training data: {'; '.join(drifted)}. Expected a PSI of {LARGE} at most."


def left_out_note(report: Mapping[str, Any], schema: Schema, tasks: Sequence[str], min_history: int) -> str | None:
    """Returns one line on how many training targets of these tasks have too short a history, or None if none has.

    Of impressions none is left out.
    """
    notes = []
    for task in tasks:
        part = report["tasks"][task]["parts"]["training"]
        short = int(np.array(list(part["history"].values()))[:-1][NUMBERS.lowest[1:] <= min_history].sum())
        if short and schema.tasks[task].candidates is Candidates.SAMPLED:
            notes.append(f"{short:,} of {part['targets']:,} of {task}")
    if not notes:
        return None
    least = "" if min_history in NUMBERS.lowest else "at least "
    return (
        f"Training targets with fewer than min_history = {min_history} behaviors before them are left out: "
        f"{least}{', '.join(notes)}."
    )
