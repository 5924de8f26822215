"""What tells the positive of a request from its sampled negatives before anything is learned.

A sample is enough: few targets of each user tell as much as all of them, and so do the users of a few chunks.
"""

from typing import Any

import numpy as np

from atrank_tf.data.candidates import NegativeSampler
from atrank_tf.data.chunk_reading import chunk_targets
from atrank_tf.data.own_history import own_objects
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Behaviors, Chunk, Part, positive_behaviors
from atrank_tf.experiment import Batching
from atrank_tf.types import Tensor

CHUNKS = 16
"""How many chunks are measured, the first ones: about 33,000 users."""
TARGETS_PER_USER = 20
"""Most targets of a user in one part of the data, drawn evenly."""
CHOSEN_BEFORE, UNSEEN = "chosen before by the user", "never chosen in training"
"""Properties of a candidate that the schema's `exclude` and `unseen` decide about."""
_SETTINGS = Batching(targets_per_user=TARGETS_PER_USER, evaluation_targets_per_user=TARGETS_PER_USER, min_history=0)


class CandidateMeasures:
    """Counts over the candidates of one task with sampled negatives, in the chunks added so far.

    Args:
        records: the records.
        task: the task.
        parts: the parts of the data.
        seen: catalog row -> how often the object was a positive in training.
    """

    def __init__(self, records: Records, task: str, parts: tuple[Part, ...], seen: np.ndarray) -> None:
        schema = records.schema
        self._records, self._task, self._seen = records, task, seen
        self._negatives = schema.tasks[task].negatives
        entity = schema.entity_of(task)
        self._groups = [name for name, group in schema.groups.items() if group.entity == entity]
        self._sampler = NegativeSampler(records.catalogs[entity], self._negatives)
        self._parts = {part: _PartCounts() for part in parts}

    def add(self, chunk: Chunk, serialized: Tensor, seed: Tensor) -> None:
        """Counts the candidates of a chunk.

        Args:
            chunk: the chunk, of tensors.
            serialized: string [U], the Examples that it is of.
            seed: int64 [2], of the draws; the chunk's own, so that they are those of evaluation with as many targets.
        """
        schema = self._records.schema
        own = own_objects(self._records, self._task, self._negatives, chunk, serialized)
        group = chunk.groups[schema.tasks[self._task].group]
        chosen = np.asarray(positive_behaviors(chunk, schema, self._task))
        done = {name: _Done(chunk.groups[name]) for name in self._groups}
        chosen_before = _Done(group, chosen)
        for part, counts in self._parts.items():
            targets = chunk_targets(chunk, schema, self._task, part, _SETTINGS, seed)
            positives = np.asarray(group.id)[np.asarray(targets.index)][:, np.newaxis]
            negatives = np.asarray(self._sampler.draw(*own, targets, seed))
            candidates = np.concatenate([positives, negatives], axis=1)
            asked = np.asarray(targets.user)[:, np.newaxis], np.asarray(targets.request_time)[:, np.newaxis]
            times = {name: each.times(*asked, candidates) for name, each in done.items()}
            often = sum(times.values())
            popularity = self._seen[candidates]
            if part is Part.TRAINING:
                popularity[:, 0] -= 1  # A positive is in its own count.
            properties = {
                CHOSEN_BEFORE: chosen_before.times(*asked, candidates) > 0,
                **{f"done before by the user: {name}": found > 0 for name, found in times.items()},
                "new to the user": often == 0,
                UNSEEN: popularity == 0,
            }
            rules = {"popularity": popularity, "done before": often > 0, "times done before": often}
            counts.add(asked[0], candidates > 0, properties, rules)

    def as_dict(self, part: Part) -> dict[str, Any]:
        """Returns the counts of a part as JSON types."""
        return self._parts[part].as_dict()


class _PartCounts:
    """Counts of one part."""

    def __init__(self) -> None:
        self._targets = 0
        self._counts: dict[str, dict[str, int]] = {"positives": {}, "negatives": {}}
        self._sums: dict[str, float] = {}
        self._users = 0

    def add(
        self, user: np.ndarray, real: np.ndarray, properties: dict[str, np.ndarray], rules: dict[str, np.ndarray]
    ) -> None:
        """Counts requests, a positive first and negatives behind: user [M, 1], all else [M, N]."""
        self._targets += len(user)
        for side, columns in (("positives", slice(1)), ("negatives", slice(1, None))):
            of_side = {"all": real, **{name: real & found for name, found in properties.items()}}
            for name, found in of_side.items():
                self._counts[side][name] = self._counts[side].get(name, 0) + int(found[:, columns].sum())
        users = np.broadcast_to(user, real.shape)[real]
        positive = np.broadcast_to(np.arange(real.shape[1]) == 0, real.shape)[real]
        for name, score in rules.items():
            aucs = user_aucs(users, score[real].astype(np.float64), positive)
            self._sums[name] = self._sums.get(name, 0.0) + float(aucs.sum())
        self._users += len(aucs)

    def as_dict(self) -> dict[str, Any]:
        rules = {name: round(total / self._users, 4) if self._users else None for name, total in self._sums.items()}
        return {"targets": self._targets, **self._counts, "user_auc": rules}


class _Done:
    """How often each user of a chunk did something with each object, by time.

    Args:
        rows: behaviors of a group.
        counted: which of them count, bool [V]; None for all.
    """

    def __init__(self, rows: Behaviors, counted: np.ndarray | None = None) -> None:
        keep = slice(None) if counted is None else counted
        user, ids, timestamp = (np.asarray(column)[keep] for column in (rows.user, rows.id, rows.timestamp))
        self._pairs, index = np.unique(user * SPAN + ids, return_inverse=True)
        self._keys = np.sort(index * SPAN + timestamp)

    def times(self, user: np.ndarray, before: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Returns how often it was done before a time, int64 [M, N]; user, before: [M, 1], ids: [M, N]."""
        if not len(self._pairs):
            return np.zeros(ids.shape, np.int64)
        asked = user * SPAN + ids
        index = np.minimum(np.searchsorted(self._pairs, asked), len(self._pairs) - 1)
        first, last = (np.searchsorted(self._keys, index * SPAN + time) for time in (0, before))
        return np.where(self._pairs[index] == asked, last - first, 0)


def user_aucs(user: np.ndarray, score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Returns for each user how likely a positive scores above a negative, a tie counting one half.

    Users without a positive or without a negative are left out.

    Args:
        user: int64 [C], of each candidate.
        score: float64 [C].
        positive: bool [C].
    """
    order = np.lexsort((score, user))
    user, score, positive = user[order], score[order], positive[order]
    runs = np.flatnonzero(np.diff(user, prepend=-1).astype(bool) | np.diff(score, prepend=np.nan).astype(bool))
    lengths = np.diff(np.append(runs, len(user)))
    rank = np.repeat(runs + (lengths - 1) / 2, lengths)  # Of a tie all have the middle one.
    begins = np.flatnonzero(np.diff(user, prepend=-1))
    if not len(begins):
        return np.zeros(0)
    everyone = np.diff(np.append(begins, len(user)))
    chosen = np.add.reduceat(positive.astype(np.int64), begins)
    above = np.add.reduceat(np.where(positive, rank, 0.0), begins) - chosen * begins - chosen * (chosen - 1) / 2
    pairs = chosen * (everyone - chosen)
    return np.asarray(above[pairs > 0] / pairs[pairs > 0])
