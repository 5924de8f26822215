"""Whether what is validated on is like what is trained on.

The measure is the population stability index of two histograms over the same bins, of shares p and q:

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

LARGE = 0.25
"""The least PSI that is a drift."""
_ONCE_IN_A_THOUSAND = 3.09
"""Of the normal distribution, in standard deviations above its mean."""


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
