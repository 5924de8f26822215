"""Sums over the targets of a task in each part of the data, chunk by chunk, and what the report says of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.targets import SPAN, Chunk, Part, Targets
from atrank_tf.report.bins import LATEST_DAY, NUMBERS, day_series, days, gap_bins
from atrank_tf.report.sums import Sums
from atrank_tf.schema import FIRST_ROW, UNKNOWN, Candidates, Schema

_COUNTS = ("targets", "users", "new_users", "same_moment")


class TargetMeasures:
    """What is counted of the targets of one task in one part of the data.

    Args:
        schema: the schema, prepared.
        task: the task.
        part: training, validation or test.
    """

    def __init__(self, schema: Schema, task: str, part: Part) -> None:
        self._schema, self._task, self._part = schema, task, part
        self._spec = schema.tasks[task]
        self._entity = schema.entity_of(task)
        self._gap_bins = gap_bins(schema.time)

    @property
    def lengths(self) -> dict[str, int]:
        """The names of the sums, and how many numbers each has."""
        lengths = dict.fromkeys(_COUNTS, 1) | {"history": len(NUMBERS), "gaps": len(self._gap_bins)}
        lengths |= {
            "by_day": LATEST_DAY + 1,
            "chosen": self._schema.entities[self._entity].rows,
            "outcomes": len(self._outcome_names()),
        }
        lengths |= {} if self._sampled else {"left": lengths["chosen"]}
        lengths |= {f"unknown {column}": 2 for column in self._columns()}
        return {self._name(what): length for what, length in lengths.items()}

    def add(self, sums: Sums, chunk: Chunk, targets: Targets, trained: np.ndarray) -> None:
        """Adds the targets of a chunk.

        Args:
            sums: to which they are added.
            chunk: the chunk, of NumPy arrays.
            targets: its targets in this part of the data, too.
            trained: users of the chunk that have training targets of the task.
        """
        users = np.unique(targets.user)
        found: dict[str, Any] = {
            "targets": len(targets.user),
            "users": len(users),
            "new_users": (~np.isin(users, trained)).sum(),
            "same_moment": (self._at_request_time(chunk, targets) > 0).sum(),
            "history": NUMBERS.count(sum(targets.ends[name] - targets.starts[name] for name in targets.ends)),
            "gaps": self._gap_bins.count(_since_the_last(chunk, targets)),
            "outcomes": self._counted_outcomes(chunk, targets),
        }
        for column, unknown in self._values(chunk, targets):
            found[f"unknown {column}"] = np.array([unknown.sum(), len(unknown)])
        for what, numbers in found.items():
            sums.add(self._name(what), numbers)
        sums.add_each(self._name("by_day"), days(targets.request_time))
        sums.add_each(self._name("chosen"), self._chosen(chunk, targets))
        if not self._sampled:
            requests, indices = chunk.requests[self._task], _shown(chunk, targets, self._task)
            sums.add_each(self._name("left"), requests.id[indices[requests.label[indices] == 0]])

    def chosen(self, sums: Sums) -> np.ndarray:
        """Returns how often each object was chosen, int64 [rows of the catalog]."""
        return sums[self._name("chosen")]

    def as_dict(self, sums: Sums, catalog: Catalog, seen: np.ndarray) -> dict[str, Any]:
        """Returns the counts as JSON types.

        Args:
            sums: to which all chunks were added.
            catalog: of the entity whose objects are ranked.
            seen: catalog row -> how often the object was a positive in training.
        """
        chosen = self.chosen(sums)
        # In training a positive is in its own count: without it, both parts answer "how often before".
        popularity = NUMBERS.count(seen - int(self._part is Part.TRAINING), chosen)
        entity = self._schema.entities[self._entity]
        known_of = {f"{self._entity} id": catalog.table_rows != UNKNOWN} if entity.id.table else {}
        for column in entity.features:
            known_of[f"{self._entity} {column}"] = ~nothing_known(catalog.features[column])
        positives = int(chosen.sum())
        unknown = {column: [positives - int(chosen[known].sum()), positives] for column, known in known_of.items()}
        unknown |= {column: sums[self._name(f"unknown {column}")].tolist() for column in self._columns()}
        return {
            **{what: int(sums[self._name(what)][0]) for what in _COUNTS},
            "by_day": day_series(sums[self._name("by_day")]),
            "unseen": int(popularity[0]),
            "positives": positives,
            "outcomes": dict(zip(self._outcome_names(), sums[self._name("outcomes")].tolist(), strict=True)),
            "unknown": unknown,
            "popularity": dict(zip(NUMBERS.labels, popularity.tolist(), strict=True)),
            "gaps": dict(zip(self._gap_bins.labels, sums[self._name("gaps")].tolist(), strict=True)),
            "history": dict(zip(NUMBERS.labels, sums[self._name("history")].tolist(), strict=True)),
            "known": self._known(sums, catalog) if entity.id.table and not self._sampled else None,
        }

    def _known(self, sums: Sums, catalog: Catalog) -> dict[str, list[int]]:
        """Returns of the candidates that were chosen and that were left how many have a known id, and how many are."""
        known = catalog.table_rows != UNKNOWN
        counts = {what: sums[self._name(what)] for what in ("chosen", "left")}
        return {what: [int(count[known].sum()), int(count.sum())] for what, count in counts.items()}

    def _name(self, what: str) -> str:
        return f"task {self._task} {self._part} {what}"

    @property
    def _sampled(self) -> bool:
        return self._spec.candidates is Candidates.SAMPLED

    def _chosen(self, chunk: Chunk, targets: Targets) -> np.ndarray:
        """Returns the catalog rows of what was chosen, int64 [P]."""
        if self._sampled:
            return np.asarray(chunk.groups[self._spec.group].id[targets.index])
        indices = _shown(chunk, targets, self._task)
        requests = chunk.requests[self._task]
        return np.asarray(requests.id[indices[requests.label[indices] > 0]])

    def _outcome_names(self) -> list[str]:
        actions = self._schema.groups[self._spec.group].actions
        return list(self._spec.actions or actions) if self._sampled else ["left", "chosen"]

    def _counted_outcomes(self, chunk: Chunk, targets: Targets) -> np.ndarray:
        if not self._sampled:
            return np.bincount(chunk.requests[self._task].label[_shown(chunk, targets, self._task)], minlength=2)
        group = self._spec.group
        actions = self._schema.groups[group].actions
        found = np.bincount(chunk.groups[group].action[targets.index], minlength=FIRST_ROW + len(actions))
        return found[[FIRST_ROW + actions.index(name) for name in self._outcome_names()]]

    def _columns(self) -> list[str]:
        """Returns the columns of context and user; those of objects follow from what was chosen."""
        context = [] if self._sampled else [f"context {column}" for column in self._spec.context.features]
        return context + [f"user {column}" for column in self._schema.user.features]

    def _values(self, chunk: Chunk, targets: Targets) -> Iterator[tuple[str, np.ndarray]]:
        """Yields a column and where nothing of it is known of a target (of the context: of a candidate), bool."""
        if not self._sampled:
            indices = _shown(chunk, targets, self._task)
            for column, feature in self._spec.context.features.items():
                rows = chunk.requests[self._task].context[column][indices].reshape(len(indices), feature.max_values)
                yield f"context {column}", nothing_known(rows)
        for column in self._schema.user.features:
            yield f"user {column}", nothing_known(chunk.profile[column][targets.user])

    def _at_request_time(self, chunk: Chunk, targets: Targets) -> np.ndarray:
        """Returns how many behaviors, beside the target itself, are at the request time, int64 [M]."""
        found = np.zeros(len(targets.user), np.int64)
        asked = targets.user * SPAN + targets.request_time
        for rows in chunk.groups.values():
            times = rows.user * SPAN + rows.timestamp
            found += np.searchsorted(times, asked, side="right") - np.searchsorted(times, asked, side="left")
        return found - (1 if self._sampled else self._taken_at_request_time(chunk, targets))

    def _taken_at_request_time(self, chunk: Chunk, targets: Targets) -> np.ndarray:
        """Returns how many behaviors of the task's group are what the request itself chose, at its time, int64 [M]."""
        requests, indices = chunk.requests[self._task], _shown(chunk, targets, self._task)
        lengths = (requests.ends - requests.starts)[targets.index]
        request = np.repeat(np.arange(len(lengths)), lengths)
        chosen = requests.label[indices] > 0
        request, ids = request[chosen], requests.id[indices[chosen]]
        rows, objects = chunk.groups[self._spec.group], self._schema.entities[self._entity].rows
        times, of_time = np.unique(rows.user * SPAN + rows.timestamp, return_inverse=True)
        taken = np.sort(of_time * objects + rows.id)
        asked = (targets.user * SPAN + targets.request_time)[request]
        place = np.where(np.isin(asked, times), np.searchsorted(times, asked), len(times))  # Behind all: of no time.
        wanted = place * objects + ids
        found = np.searchsorted(taken, wanted, side="right") - np.searchsorted(taken, wanted, side="left")
        return np.bincount(request, found, len(lengths)).astype(np.int64)


def nothing_known(rows: np.ndarray) -> np.ndarray:
    """Returns where all rows of a table, int [M, max_values], are padding or unknown, bool [M]."""
    return np.asarray((rows <= UNKNOWN).all(axis=1))


def _shown(chunk: Chunk, targets: Targets, task: str) -> np.ndarray:
    """Returns the indices of all candidates of the targets in the flat candidates of a chunk, int64 [C]."""
    requests = chunk.requests[task]
    starts, ends = requests.starts[targets.index], requests.ends[targets.index]
    lengths = ends - starts
    return np.asarray(np.repeat(ends - np.cumsum(lengths), lengths) + np.arange(lengths.sum()))


def _since_the_last(chunk: Chunk, targets: Targets) -> np.ndarray:
    """Returns the seconds since the newest behavior of each target's history; of empty histories nothing, int64."""
    newest = np.full(len(targets.user), -1, np.int64)
    for name, ends in targets.ends.items():
        some = np.flatnonzero(ends > targets.starts[name])
        newest[some] = np.maximum(newest[some], chunk.groups[name].timestamp[ends[some] - 1])
    return (targets.request_time - newest)[newest >= 0]
