"""Metrics by kind of request: new and known objects and users, long and short histories, repeated or not, over time.

Sums are held, a few numbers for each kind, while requests stream. Shapes: B requests, N candidates, T behaviors.
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrank_tf.data import Records
from atrank_tf.evaluation.metrics import Estimate, first_positive, row_aucs, tie_runs
from atrank_tf.report.bins import Bins, days
from atrank_tf.schema import FIRST_ROW, PADDING, SplitKind
from atrank_tf.schema.inputs import candidates_name, history_name

METRICS = ("auc", "mrr")
"""Of one request: the share of pairs of a positive and a negative that are in order; 1 / rank of the first positive."""
OBJECTS, USERS, HISTORY, REPEAT, CATEGORY, TIME = (
    "Behaviors with the chosen object, in training",
    "Users",
    "Behaviors in the history",
    "What the user did before with the chosen object",
    "Of the chosen object: ",
    "Time of the request",
)
_COUNTS = Bins([0, 1, 10, 100, 1_000], ["none", "1 to 9", "10 to 99", "100 to 999", "1,000 or more"])
_USERS = ("new: nothing in training", "known")
_REPEATS = ("chose it", "something else with it", "nothing with it")
_MOST_CATEGORIES, _MOST_PERIODS = 8, 10


@dataclasses.dataclass(frozen=True)
class Slice:
    """Requests of one kind.

    Attributes:
        label: the kind.
        count: number of requests with a positive and a negative.
        means: ranker -> metric -> mean over these requests.
        differences: ranker -> metric -> mean difference of the first ranker to it.
    """

    label: str
    count: int
    means: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Mapping[str, Estimate]]


class Slices:
    """Sums of the requests of one task, by kind.

    Args:
        records: the records that the requests are of.
        task: the task.
    """

    def __init__(self, records: Records, task: str) -> None:
        schema = records.schema
        self._task, self._schema, self._own = task, schema, schema.tasks[task].group
        entity = schema.groups[self._own].entity
        self._groups = [name for name, group in schema.groups.items() if group.entity == entity]
        self._counts = records.catalogs[entity].counts
        features = schema.entities[entity].features
        named = [column for column, feature in features.items() if not schema.tables[feature.table].coded]
        by_table = sorted(named, key=lambda column: features[column].table != "category")
        self._category = by_table[0] if by_table else ""
        if self._category:
            self._of_category = records.catalogs[entity].features[self._category][:, 0]
            self._values = records.vocabularies[features[self._category].table]
        self._rankers: list[str] = []
        self._sums: dict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)

    def add(
        self,
        inputs: Mapping[str, Any],
        labels: NDArray[Any],
        mask: NDArray[np.bool_],
        scores: Mapping[str, NDArray[Any]],
    ) -> None:
        """Adds the requests of a batch; those without a positive or without a negative do not count.

        Args:
            inputs: as batches have them, with whole histories.
            labels: [B, N].
            mask: bool [B, N].
            scores: ranker -> [B, N]; always the same rankers.
        """
        self._rankers = list(scores)
        values = np.stack([_values(each, labels, mask) for each in scores.values()], axis=1)
        counted: NDArray[np.bool_] = ~np.isnan(values[:, 0, 0])  # That of all rankers alike.
        if not counted.any():
            return
        codes = {kind: code[counted] for kind, code in self._codes(inputs, mask & (labels == 1), counted).items()}
        values = values[counted]
        differences = values[:, :1] - values
        ones = np.ones((len(values), 1))
        columns = (part.reshape(len(values), -1) for part in (values, values**2, differences, differences**2))
        numbers = np.concatenate([ones, *columns], axis=1)
        for kind, code in codes.items():
            different, place = np.unique(code, return_inverse=True)
            sums = np.zeros((len(different), numbers.shape[1]))
            np.add.at(sums, place, numbers)
            known = self._sums[kind]
            for each, found in zip(different.tolist(), sums, strict=True):
                known[each] = known[each] + found if each in known else found

    def found(self) -> dict[str, list[Slice]]:
        """Returns kind -> slices; a kind of which all requests are alike is left out."""
        fixed = {OBJECTS: _COUNTS.labels, USERS: _USERS, HISTORY: _COUNTS.labels, REPEAT: _REPEATS}
        result = {
            kind: [self._slice(labels[code], sums) for code, sums in sorted(self._sums[kind].items())]
            for kind, labels in fixed.items()
        }
        if self._category:
            result[f"{CATEGORY}{self._category}"] = self._categories(self._sums[CATEGORY])
        result[TIME] = self._periods(self._sums[TIME])
        return {kind: slices for kind, slices in result.items() if len(slices) > 1}

    def _codes(
        self, inputs: Mapping[str, Any], chosen: NDArray[np.bool_], counted: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.int64]]:
        """Returns kind -> code of each request, int64 [B]; of those that are not counted anything."""
        candidates, now = np.asarray(inputs[candidates_name(self._task)]), np.asarray(inputs["now"])
        counts = np.where(chosen, self._counts[candidates], np.iinfo(np.int64).max)
        rarest = counts.argmin(axis=1)[:, np.newaxis]
        objects = np.take_along_axis(candidates, rarest, axis=1)[:, 0]
        ids = {name: np.asarray(inputs[history_name(name, "id")]) for name in self._schema.groups}
        lengths = sum((each != PADDING).sum(axis=1) for each in ids.values())
        found = {
            OBJECTS: _COUNTS.index(np.where(counted, np.take_along_axis(counts, rarest, axis=1)[:, 0], 0)),
            HISTORY: _COUNTS.index(np.asarray(lengths)),
            REPEAT: self._repeats(ids, candidates, chosen),
            TIME: days(now),
        }
        split = self._schema.split
        if split.kind is SplitKind.BY_TIME:
            known = np.zeros(len(now), np.bool_)
            for name, each in ids.items():
                before = np.asarray(inputs[history_name(name, "timestamp")]) < split.validation_from
                known |= ((each != PADDING) & before).any(axis=1)
            found[USERS] = known.astype(np.int64)
        if self._category:
            found[CATEGORY] = self._of_category[objects].astype(np.int64)
        return found

    def _repeats(
        self, ids: Mapping[str, NDArray[np.int64]], candidates: NDArray[np.int64], chosen: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Returns indices in `_REPEATS`, int64 [B]: the nearest that holds of any chosen object."""
        requests, places = np.nonzero(chosen)
        objects = candidates[requests, places][:, np.newaxis]
        codes = np.full(len(candidates), 2)
        for name in self._groups:
            done = requests[(ids[name][requests] == objects).any(axis=1)]
            codes[done] = np.minimum(codes[done], 0 if name == self._own else 1)
        return codes

    def _categories(self, sums: Mapping[int, NDArray[np.float64]]) -> list[Slice]:
        most = sorted(sums, key=lambda code: -sums[code][0])
        named = [(str(self._values[c - FIRST_ROW]) if c >= FIRST_ROW else "(unknown)", sums[c]) for c in most]
        rest = [each for _, each in named[_MOST_CATEGORIES:]]
        named = named[:_MOST_CATEGORIES] + ([(f"{len(rest)} others", np.sum(rest, axis=0))] if rest else [])
        return [self._slice(label, each) for label, each in named]

    def _periods(self, sums: Mapping[int, NDArray[np.float64]]) -> list[Slice]:
        if not sums:
            return []
        first, last = min(sums), max(sums)
        width = -(-(last - first + 1) // _MOST_PERIODS)
        periods: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
        for day, each in sorted(sums.items()):
            periods[(day - first) // width].append(each)
        found = []
        for period, of_days in periods.items():
            begin = first + period * width
            end = min(begin + width - 1, last)
            label = str(np.datetime64(begin, "D")) + (f" to {np.datetime64(end, 'D')}" if end > begin else "")
            found.append(self._slice(label, np.sum(of_days, axis=0)))
        return found

    def _slice(self, label: str, sums: NDArray[np.float64]) -> Slice:
        count = int(sums[0])
        of_values, of_squares, of_differences, of_their_squares = sums[1:].reshape(4, len(self._rankers), len(METRICS))
        means = self._estimates(count, of_values, of_squares)
        return Slice(label, count, means, self._estimates(count, of_differences, of_their_squares))

    def _estimates(
        self, count: int, sums: NDArray[np.float64], squares: NDArray[np.float64]
    ) -> dict[str, dict[str, Estimate]]:
        return {
            ranker: {
                metric: _estimate(count, float(sums[place, at]), float(squares[place, at]))
                for at, metric in enumerate(METRICS)
            }
            for place, ranker in enumerate(self._rankers)
        }


def _values(scores: NDArray[Any], labels: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the `METRICS` of each request, float64 [B, 2]; NaN without a positive or without a negative."""
    runs = tie_runs(scores, labels, mask)
    found = np.full((len(scores), len(METRICS)), np.nan)
    found[:, 0] = row_aucs(runs)
    positive = np.flatnonzero(runs.positives[:, -1])
    if len(positive):
        fields = (getattr(runs, field.name)[positive] for field in dataclasses.fields(runs))
        found[positive, 1] = first_positive(type(runs)(*fields), 1)[0]
    return found


def _estimate(count: int, total: float, squares: float) -> Estimate:
    mean = total / count
    variance = max(0.0, squares / count - mean**2)
    return Estimate(mean, math.sqrt(variance / (count - 1)) if count > 1 else math.nan, count)


def best_rule(slices: Mapping[str, Sequence[Slice]], rules: Sequence[str]) -> str:
    """Returns the rule with the highest mean AUC over the requests of any kind; "" without a rule or a slice."""
    if not slices or not rules:
        return ""
    of_one = next(iter(slices.values()))
    return max(rules, key=lambda rule: sum(each.count * each.means[rule]["auc"].value for each in of_one))
