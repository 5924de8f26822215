"""Counts over the targets of a task in each part of the data, chunk by chunk."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.targets import SPAN, Chunk, Part, Targets
from atrank_tf.report.bins import NUMBERS, gap_bins
from atrank_tf.schema import FIRST_ROW, UNKNOWN, Candidates, Schema


def positives(chunk: Chunk, targets: Targets, schema: Schema, task: str) -> np.ndarray:
    """Returns the catalog rows of what was chosen in a task's targets, int64 [P]."""
    spec = schema.tasks[task]
    if spec.candidates is Candidates.SAMPLED:
        return np.asarray(chunk.groups[spec.group].id[targets.index])
    indices = _shown(chunk, targets, task)
    requests = chunk.requests[task]
    return np.asarray(requests.id[indices[requests.label[indices] > 0]])


class TargetMeasures:
    """Counts over the targets of one task in one part of the data, of the chunks added so far.

    Args:
        schema: the schema.
        catalog: of the entity whose objects are ranked.
        task: the task.
        part: training, validation or test.
        seen: catalog row -> how often the object was a positive in training.
    """

    def __init__(self, schema: Schema, catalog: Catalog, task: str, part: Part, seen: np.ndarray) -> None:
        self._schema, self._catalog, self._task, self._part, self._seen = schema, catalog, task, part, seen
        self._gap_bins = gap_bins(schema.time)
        self._gaps = np.zeros(len(self._gap_bins), np.int64)
        self._history = np.zeros(len(NUMBERS), np.int64)
        self._popularity = np.zeros(len(NUMBERS), np.int64)
        self._outcomes: dict[str, int] = dict.fromkeys(self._outcome_names(), 0)
        self._unknown: dict[str, list[int]] = {}
        self._targets = self._users = self._new_users = self._same_moment = 0

    def add(self, chunk: Chunk, targets: Targets, trained: np.ndarray) -> None:
        """Counts the targets of a chunk.

        Args:
            chunk: the chunk, of NumPy arrays.
            targets: its targets in this part of the data, too.
            trained: users of the chunk that have training targets of the task.
        """
        users = np.unique(targets.user)
        self._targets += len(targets.user)
        self._users += len(users)
        self._new_users += int((~np.isin(users, trained)).sum())
        self._same_moment += int((self._at_request_time(chunk, targets) > 0).sum())
        self._history += NUMBERS.count(sum(targets.ends[name] - targets.starts[name] for name in targets.ends))
        self._gaps += self._gap_bins.count(_since_the_last(chunk, targets))
        chosen = positives(chunk, targets, self._schema, self._task)
        # In training a positive is in its own count: without it, both parts answer "how often before".
        self._popularity += NUMBERS.count(self._seen[chosen] - int(self._part is Part.TRAINING))
        for name, count in zip(self._outcomes, self._counted_outcomes(chunk, targets), strict=True):
            self._outcomes[name] += int(count)
        for column, unknown in self._values(chunk, targets, chosen):
            found = self._unknown.setdefault(column, [0, 0])
            self._unknown[column] = [found[0] + int(unknown.sum()), found[1] + len(unknown)]

    def as_dict(self) -> dict[str, Any]:
        """Returns the counts as JSON types."""
        return {
            "targets": self._targets,
            "users": self._users,
            "new_users": self._new_users,
            "same_moment": self._same_moment,
            "unseen": int(self._popularity[0]),
            "positives": int(self._popularity.sum()),
            "outcomes": self._outcomes,
            "unknown": self._unknown,
            "popularity": dict(zip(NUMBERS.labels, self._popularity.tolist(), strict=True)),
            "gaps": dict(zip(self._gap_bins.labels, self._gaps.tolist(), strict=True)),
            "history": dict(zip(NUMBERS.labels, self._history.tolist(), strict=True)),
        }

    @property
    def _sampled(self) -> bool:
        return self._schema.tasks[self._task].candidates is Candidates.SAMPLED

    def _outcome_names(self) -> list[str]:
        spec = self._schema.tasks[self._task]
        return list(spec.actions or self._schema.groups[spec.group].actions) if self._sampled else ["left", "chosen"]

    def _counted_outcomes(self, chunk: Chunk, targets: Targets) -> np.ndarray:
        if not self._sampled:
            return np.bincount(chunk.requests[self._task].label[_shown(chunk, targets, self._task)], minlength=2)
        spec = self._schema.tasks[self._task]
        actions = self._schema.groups[spec.group].actions
        found = np.bincount(chunk.groups[spec.group].action[targets.index], minlength=FIRST_ROW + len(actions))
        return found[[FIRST_ROW + actions.index(name) for name in self._outcomes]]

    def _values(self, chunk: Chunk, targets: Targets, chosen: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yields a column and where nothing of it is known of a positive (of the context: of a candidate), bool."""
        spec = self._schema.tasks[self._task]
        entity = self._schema.groups[spec.group].entity
        yield f"{entity} id", self._catalog.table_rows[chosen] == UNKNOWN
        for column in self._schema.entities[entity].features:
            yield f"{entity} {column}", _nothing_known(self._catalog.features[column][chosen])
        if not self._sampled:
            indices = _shown(chunk, targets, self._task)
            for column, feature in spec.context.features.items():
                rows = chunk.requests[self._task].context[column][indices].reshape(len(indices), feature.max_values)
                yield f"context {column}", _nothing_known(rows)
        for column in self._schema.user.features:
            yield f"user {column}", _nothing_known(chunk.profile[column][targets.user])

    def _at_request_time(self, chunk: Chunk, targets: Targets) -> np.ndarray:
        """Returns how many behaviors, beside the target itself, are at the request time, int64 [M]."""
        found = np.zeros(len(targets.user), np.int64)
        asked = targets.user * SPAN + targets.request_time
        for rows in chunk.groups.values():
            times = rows.user * SPAN + rows.timestamp
            found += np.searchsorted(times, asked, side="right") - np.searchsorted(times, asked, side="left")
        return found - int(self._sampled)


def _nothing_known(rows: np.ndarray) -> np.ndarray:
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


Measures = Mapping[str, Mapping[Part, TargetMeasures]]
"""Task -> part -> its measures."""
