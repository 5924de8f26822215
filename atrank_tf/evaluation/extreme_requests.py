"""The requests that a model ranked worst and best, few of each, to be looked at by name."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atrank_tf.schema import PADDING
from atrank_tf.schema.inputs import candidates_name, history_name

SHOWN_BEHAVIORS = 5
"""Newest behaviors that are kept of a history."""


class PastBehavior(NamedTuple):
    """A behavior of a history: its group, the row of its object, and its time in Unix seconds."""

    group: str
    object: int
    timestamp: int


class RankedRequest(NamedTuple):
    """A request as a model ranked it.

    `surprise`: minus the log of the probability that the softmax of all scores gives the chosen candidates. `user`,
    `now`: who asked, and when. `candidates`: rows of the catalog, `scores`, `chosen` (bool): [N], the highest score
    first. `behaviors`: number of all before; `newest`: the last of them, the newest first.
    """

    surprise: float
    user: str
    now: int
    candidates: NDArray[np.int64]
    scores: NDArray[np.float64]
    chosen: NDArray[np.bool_]
    behaviors: int
    newest: tuple[PastBehavior, ...]


class ExtremeRequests:
    """Keeps the worst and the best requests of one task while requests stream, each of another user.

    Args:
        task: the task.
        groups: the groups of the history.
        most: how many of each are kept.
    """

    def __init__(self, task: str, groups: Sequence[str], most: int) -> None:
        self._task, self._groups, self._most = task, list(groups), most
        self._worst: dict[str, RankedRequest] = {}
        self._best: dict[str, RankedRequest] = {}

    @property
    def worst(self) -> list[RankedRequest]:
        """Those of the highest surprise, the worst first."""
        return list(self._worst.values())

    @property
    def best(self) -> list[RankedRequest]:
        """Those of the lowest surprise, the best first."""
        return list(self._best.values())

    def add(
        self,
        inputs: Mapping[str, Any],
        users: NDArray[Any],
        labels: NDArray[Any],
        mask: NDArray[np.bool_],
        scores: NDArray[Any],
    ) -> None:
        """Looks at the requests of a batch; those without a positive or without a negative are left out.

        Args:
            inputs: as batches have them.
            users: str [B].
            labels, scores: [B, N].
            mask: bool [B, N].
        """
        chosen = mask & (labels == 1)
        counted = np.flatnonzero(chosen.any(axis=1) & (mask & ~chosen).any(axis=1))
        surprise = _log_sum(scores[counted], mask[counted]) - _log_sum(scores[counted], chosen[counted])
        order = np.argsort(surprise, kind="stable")
        for kept, sign, ends in ((self._worst, -1.0, order[::-1]), (self._best, 1.0, order)):
            for place in ends:
                request, own = int(counted[place]), float(surprise[place])
                if len(kept) >= self._most and sign * own >= sign * [*kept.values()][-1].surprise:
                    break  # So do those behind it.
                before = kept.get(str(users[request]))
                if before is None or sign * own < sign * before.surprise:
                    found = self._request(inputs, users, chosen, mask, scores, request, own)
                    _keep(kept, found, sign, self._most)

    def _request(
        self,
        inputs: Mapping[str, Any],
        users: NDArray[Any],
        chosen: NDArray[np.bool_],
        mask: NDArray[np.bool_],
        scores: NDArray[Any],
        request: int,
        surprise: float,
    ) -> RankedRequest:
        real = np.flatnonzero(mask[request])
        order = real[np.argsort(-scores[request, real], kind="stable")]
        behaviors = []
        for group in self._groups:
            ids, times = (np.asarray(inputs[history_name(group, column)][request]) for column in ("id", "timestamp"))
            kept = np.flatnonzero(ids != PADDING)
            behaviors += [PastBehavior(group, int(ids[at]), int(times[at])) for at in kept]
        behaviors.sort(key=lambda behavior: -behavior.timestamp)
        return RankedRequest(
            surprise=surprise,
            user=str(users[request]),
            now=int(inputs["now"][request]),
            candidates=np.asarray(inputs[candidates_name(self._task)])[request, order],
            scores=scores[request, order].astype(np.float64),
            chosen=chosen[request, order],
            behaviors=len(behaviors),
            newest=tuple(behaviors[:SHOWN_BEHAVIORS]),
        )


def _keep(kept: dict[str, RankedRequest], found: RankedRequest, sign: float, most: int) -> None:
    """Adds a request in place of an earlier one of its user; keeps the most extreme, in order."""
    kept[found.user] = found
    ordered = sorted(kept.values(), key=lambda request: sign * request.surprise)[:most]
    kept.clear()
    kept.update((request.user, request) for request in ordered)


def _log_sum(scores: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns log(sum(exp(scores))) of each row where `mask` is True, float64 [B]; every row has such a score."""
    found: NDArray[np.float64] = np.logaddexp.reduce(np.where(mask, scores, -np.inf).astype(np.float64), axis=1)
    return found
