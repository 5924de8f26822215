"""Measures of what semantic spaces learned: shares of attention weights by kind of behavior, over many requests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from atrank_tf.explanation.attention import Explanation
from atrank_tf.explanation.names import Thing

MEASURES = {
    "itself": "the behavior that attends",
    "category": "others that share a category with it",
    "group": "others of its group",
    "recent": "the third of the others that is nearest in time",
    "far": "the third of the others that is farthest in time",
    "evenness": "no share: how many are read in effect, exp(entropy), of all that are seen; 1 for equal weights",
}
"""Measure -> the behaviors whose share of the weights it is. For a candidate, time is that of the request."""
_NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")


@dataclass(frozen=True, eq=False)
class Focus:
    """Where the weights of one attention layer go: M measures (`MEASURES`) in K spaces.

    Args:
        attention: "self-attention 1", ... or "target attention, <task>".
        share: float64 [K, M], mean over requests; NaN where a measure is undefined.
        error: float64 [K, M], standard error of that mean.
        uniform: float64 [M], the shares if all seen behaviors had equal weights.
        requests: number of requests.
    """

    attention: str
    share: np.ndarray
    error: np.ndarray
    uniform: np.ndarray
    requests: int


def measure_spaces(explanations: Iterable[Explanation]) -> list[Focus]:
    """Measures the semantic spaces, one `Focus` for each attention layer of the model.

    Requests have equal weight: the share of a request is the mean over its queries. Requests without history are left
    out.
    """
    found: dict[str, list[np.ndarray]] = {}
    for explanation in explanations:
        if explanation.behaviors:
            for name, shares in _shares(explanation).items():
                found.setdefault(name, []).append(shares)
    return [_focus(name, np.stack(requests)) for name, requests in found.items()]


def focus_table(focuses: Iterable[Focus]) -> list[list[str]]:
    """Returns a table of text: a header, and for each attention layer a row per space and one of equal weights."""
    rows = [["attention", "space", *MEASURES]]
    for focus in focuses:
        for space, (share, error) in enumerate(zip(focus.share, focus.error, strict=True)):
            cells = [_cell(*both) for both in zip(share, error, strict=True)]
            rows.append([focus.attention, numeral(space), *cells])
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in focus.uniform]
        rows.append([focus.attention, "equal weights", *cells])
    return rows


def _cell(share: float, error: float) -> str:
    if np.isnan(share):
        return ""
    return f"{share:.3f}" if np.isnan(error) else f"{share:.3f} ±{error:.3f}"  # One request has no error.


def numeral(space: int) -> str:
    """Returns the name of a space, as in the paper: I, II, ..."""
    return _NUMERALS[space] if space < len(_NUMERALS) else str(space + 1)


def _focus(name: str, requests: np.ndarray) -> Focus:
    """Averages over requests; `requests`: [R, K + 1, M], the last row that of equal weights."""
    mean, count = _mean(requests, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(_mean((requests - mean) ** 2, axis=0)[0] / (count - 1))
    return Focus(name, mean[:-1], error[:-1], mean[-1], len(requests))


def _shares(explanation: Explanation) -> dict[str, np.ndarray]:
    """Returns the shares of one request for each attention layer, name -> [K + 1, M]."""
    times = np.array([behavior.timestamp for behavior in explanation.behaviors])
    groups = np.array([behavior.group for behavior in explanation.behaviors])
    things = [behavior.thing for behavior in explanation.behaviors]
    found = {}
    if len(explanation.self_attention):
        same_category, same_group = _same_category(things, things), groups[:, np.newaxis] == groups
        gaps, itself = np.abs(times[:, np.newaxis] - times), np.eye(len(times), dtype=bool)
        for block, weights in enumerate(explanation.self_attention):
            found[f"self-attention {block + 1}"] = _of_one(weights, itself, same_category, same_group, gaps)
    if len(explanation.target_attention) and explanation.candidates:
        shape = (len(explanation.candidates), len(times))
        same_category = _same_category(explanation.candidates, things)
        same_group = np.broadcast_to(groups == explanation.group, shape)
        gaps, itself = np.broadcast_to(explanation.now - times, shape), np.zeros(shape, bool)
        found[f"target attention, {explanation.task}"] = _of_one(
            explanation.target_attention, itself, same_category, same_group, gaps
        )
    return found


def _of_one(
    weights: np.ndarray, itself: np.ndarray, same_category: np.ndarray, same_group: np.ndarray, gaps: np.ndarray
) -> np.ndarray:
    """Returns the mean shares over Q queries, [K + 1, M]; `weights` are [K, Q, T], all else [Q, T]."""
    total = weights.sum(axis=-1, keepdims=True)
    weights = weights / np.where(total > 0, total, 1)  # Of what is read: a sink's part is left out.
    seen = weights.max(axis=0) > 0
    others = seen & ~itself
    rows, inverse = np.unique(np.where(others, gaps, -1), axis=0, return_inverse=True)
    place = np.stack([_place_in_time(row) for row in rows])[inverse]
    timed = ~np.isnan(place)
    marks = {
        "itself": np.where(itself.any(), itself, np.nan),
        "category": np.where(others, same_category, same_category * 0),  # Keeps NaN.
        "group": others & same_group,
        "recent": np.where(timed.any(axis=1, keepdims=True), others & (place <= 1 / 3), np.nan),
        "far": np.where(timed.any(axis=1, keepdims=True), others & (place >= 2 / 3), np.nan),
    }
    count = np.maximum(seen.sum(axis=1), 1)
    every = np.concatenate([weights, (seen / count[:, np.newaxis])[np.newaxis]])
    shares = np.einsum("kqt,mqt->kmq", every, np.stack(list(marks.values())).astype(np.float64))
    entropy = -(every * np.log(np.where(every > 0, every, 1))).sum(axis=-1)
    evenness = (np.exp(entropy) / count)[:, np.newaxis]  # [K + 1, 1, Q]
    return _mean(np.concatenate([shares, evenness], axis=1), axis=-1)[0]


def _place_in_time(gaps: np.ndarray) -> np.ndarray:
    """Returns the rank of the other behaviors by distance in time, from 0, the nearest, to 1, the farthest, [T].

    NaN for behaviors that are not among the others, whose gap is -1; and for all if no two distances differ.
    """
    place, others = np.full(len(gaps), np.nan), gaps >= 0
    if len(np.unique(gaps[others])) > 1:
        place[others] = (pl.Series(gaps[others]).rank().to_numpy() - 1) / (others.sum() - 1)
    return place


def _same_category(these: Sequence[Thing], those: Sequence[Thing]) -> np.ndarray:
    """Returns 1 where two things share a category, else 0, float64 [these, those]; NaN for `these` without any."""
    known = {name: column for column, name in enumerate({n: None for t in (*these, *those) for n in t.categories})}
    left, right = np.zeros((len(these), len(known))), np.zeros((len(those), len(known)))
    for marks, things in ((left, these), (right, those)):
        for row, thing in enumerate(things):
            marks[row, [known[name] for name in thing.categories]] = 1
    same = (left @ right.T > 0).astype(np.float64)
    same[left.sum(axis=1) == 0] = np.nan
    return same


def _mean(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean of the values that are not NaN, and their number; NaN if there are none."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=axis) / count, count
