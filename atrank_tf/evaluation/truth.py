"""Scores candidates of simulated logs by their true click probability: the best that a model can reach."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from atrank_tf.data import Part, Records
from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.evaluation.protocol import score_requests
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.experiment import Batching
from atrank_tf.schema import PADDING, Candidates, SplitKind
from atrank_tf.schema.inputs import candidates_name


def score_truth(
    records: Records, part: Part | str, tasks: Sequence[str], settings: Batching | None, truth: str
) -> dict[str, ScoredRequests]:
    """Scores candidates by the logit of their true click probability, on the requests that `score_model` scores.

    Args:
        records: a records folder, made of the logs that the probabilities were written with.
        part: the part of the data.
        tasks: the tasks. Those with sampled negatives have no true probabilities and are left out.
        settings: sizes of batches.
        truth: folder with `<task>.parquet`: `user_id`, `timestamp` (Unix seconds), the entity's id column and
            `probability`, between 0 and 1, of every candidate of the task's impressions.

    Returns:
        task -> scored requests; a task without a request in this part is left out.

    Raises:
        FileNotFoundError: a task has no file.
        ValueError: a candidate has no probability, or there are none at all.
    """
    shown = [task for task in tasks if records.schema.tasks[task].candidates is Candidates.IMPRESSIONS]
    known = {task: _Truth(Path(truth) / f"{task}.parquet", records, task) for task in shown}

    def score(task: str, inputs: dict[str, Any], users: np.ndarray) -> np.ndarray:
        return known[task].logits(users, inputs["now"].numpy(), inputs[candidates_name(task)].numpy())

    return score_requests({"reachable": score}, shown, records, part, settings)["reachable"]


class _Truth:
    """Lookup table of one task's true logits, by user, request time and object."""

    def __init__(self, path: Path, records: Records, task: str) -> None:
        if not path.exists():
            raise FileNotFoundError(f"Expected the true probabilities of {task} in {path}. Found no such file.")
        entity = records.schema.entity_of(task)
        catalog, id_column = records.catalogs[entity], records.schema.entities[entity].id.column
        split = records.schema.split
        asked = pl.col("timestamp") >= (split.validation_from if split.kind is SplitKind.BY_TIME else 0)
        frame = pl.scan_parquet(path, glob=False).filter(asked).collect(engine="streaming")
        if frame.is_empty():
            raise ValueError(
                f"Expected the true probabilities of validation and test in {path}. Found none. Take the truth that "
                "was written with the logs."
            )
        self._path, self._rows = path, len(catalog)
        users = frame["user_id"].cast(pl.String).to_numpy().astype(str)
        moments = frame["timestamp"].to_numpy()
        self._users, self._moments = np.unique(users), np.unique(moments)
        keys = self._keys_of(users, moments, Vocabulary(pl.Series(catalog.ids)).lookup(frame[id_column]))
        order = np.argsort(keys)
        self._keys = keys[order]
        probability = frame["probability"].to_numpy()[order]
        self._logits = np.log(probability) - np.log1p(-probability)

    def logits(self, users: np.ndarray, now: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Returns the logits of candidates, float64 [B, N]; 0 on padding.

        Args:
            users: str [B].
            now: int64 [B].
            candidates: catalog rows, int64 [B, N].
        """
        keys = self._keys_of(users[:, np.newaxis], now[:, np.newaxis], candidates)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        real = candidates != PADDING
        missing = real & (self._keys[places] != keys)
        if missing.any():
            row = int(np.nonzero(missing)[0][0])
            raise ValueError(
                f"Expected a probability of every candidate in {self._path}. Found none for {int(missing.sum())} of a "
                f"batch, the first of user {users[row]} at {now[row]}. Take the truth that was written with the logs."
            )
        return np.where(real, self._logits[places], 0.0)

    def _keys_of(self, users: np.ndarray, moments: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns an int64 for each (user, time, object); -1 for users and times that are not in the file."""
        key, known = np.zeros(1, np.int64), np.ones(1, np.bool_)
        for values, asked in ((self._users, users), (self._moments, moments)):
            place = np.minimum(np.searchsorted(values, asked), len(values) - 1)
            key, known = key * len(values) + place, known & (values[place] == asked)
        return np.where(known, key * self._rows + rows, -1)
