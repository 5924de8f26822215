"""Scores of a ranker as a Parquet file, a row for each candidate: to compare with rankers from elsewhere.

| column | type | holds |
|---|---|---|
| `task` | text | the task |
| `request_id` | text | `<user>/<time>/<number>`: the number tells requests of one user at one time apart |
| `user_id`, `timestamp` | text, int64 | who asked, and when (Unix seconds) |
| `candidate` | text | the raw id of the object |
| `label` | int8 | 1 for a positive, 0 for a negative |
| `score` | float64 | the score |

Ids and the order of rows depend on the requests alone, not on the model that scored them.
"""

import io
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data import Records
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.files import whole_file
from atrank_tf.schema import FIRST_ROW
from atrank_tf.schema.inputs import candidates_name

_READ = {"task": pl.String, "request_id": pl.String, "candidate": pl.String, "label": pl.Int8, "score": pl.Float64}
_SAME = ["request_id", "candidate", "occurrence"]


class AskedRequests:
    """Collects request times and candidates while `score_requests` runs (its `watch`), for `write_scores`."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)

    def __call__(self, task: str, inputs: Mapping[str, Any], scored: Mapping[str, ScoredRequests]) -> None:
        """Adds the requests of a batch."""
        candidates = np.asarray(inputs[candidates_name(task)], np.int32)
        self._parts[task].append((np.asarray(inputs["now"]), candidates))

    def rows(self, records: Records, task: str, scored: ScoredRequests) -> pl.DataFrame:
        """Returns the columns of a file but `task`, and `place`: where in scores `[R, N]`, made flat, a row stands.

        Args:
            records: the records that the requests are of.
            task: the task.
            scored: its requests, in the order in which they were asked.
        """
        times = np.concatenate([times for times, _ in self._parts[task]])
        candidates = np.zeros(scored.mask.shape, np.int32)
        begin = 0
        for _, part in self._parts[task]:
            candidates[begin : begin + len(part), : part.shape[1]] = part
            begin += len(part)
        request, place = np.nonzero(scored.mask)[0], np.flatnonzero(scored.mask)
        row = candidates.reshape(-1)[place]
        catalog = records.catalogs[records.schema.entity_of(task)]
        found = pl.DataFrame(
            {
                "request": request,
                "user_id": scored.users[request],
                "timestamp": times[request],
                "candidate": pl.Series(catalog.ids[row - FIRST_ROW].tolist()).cast(pl.String),
                "label": scored.labels.reshape(-1)[place].astype(np.int8),
                "score": scored.scores.reshape(-1)[place].astype(np.float64),
                "row": row,
                "place": place,
            },
            schema_overrides={"user_id": pl.String},
        )
        found = found.sort(["request", "row", "label"], descending=[False, False, True])
        return _numbered(found).sort(["user_id", "timestamp", "number", "row"], maintain_order=True).drop("row")


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds `request_id` and `number`, which go by what is asked alone: by user, time and candidates."""
    of_one = pl.format("{}:{}", "row", "label").str.join(" ").alias("asked")
    keys = rows.group_by("request", maintain_order=True).agg(pl.col("user_id", "timestamp").first(), of_one)
    keys = keys.sort(["user_id", "timestamp", "asked"], maintain_order=True)
    number = pl.int_range(pl.len()).over("user_id", "timestamp")
    keys = keys.with_columns(number=number, request_id=pl.format("{}/{}/{}", "user_id", "timestamp", number))
    return rows.join(keys.select("request", "number", "request_id"), on="request").drop("request")


def write_scores(path: str, records: Records, asked: AskedRequests, scored: Mapping[str, ScoredRequests]) -> None:
    """Writes scores of some tasks as a Parquet file.

    Args:
        path: the file.
        records: the records that the requests are of.
        asked: what watched `score_requests` while these requests were scored.
        scored: task -> scored requests.
    """
    columns = ["task", "request_id", "user_id", "timestamp", "candidate", "label", "score"]
    tasks = [
        asked.rows(records, task, found).with_columns(task=pl.lit(task)).select(columns)
        for task, found in scored.items()
    ]
    content = io.BytesIO()
    pl.concat(tasks).write_parquet(content)
    with whole_file(path) as partial, tf.io.gfile.GFile(partial, "wb") as file:
        file.write(content.getvalue())


def read_scores(
    path: str, records: Records, asked: AskedRequests, scored: Mapping[str, ScoredRequests]
) -> dict[str, ScoredRequests]:
    """Reads a file of scores, and puts them in the order of the requests that were scored here.

    Args:
        path: a file as `write_scores` has it; `user_id` and `timestamp` may be missing, and the order may be any.
        records: the records that the requests are of.
        asked: what watched `score_requests` while the requests were scored here.
        scored: task -> scored requests.

    Returns:
        task -> the same requests with the scores of the file; a task that the file does not have is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, has none of the tasks, or has other requests, candidates or labels.
    """
    theirs = _read(path)
    found = {}
    for task, own in scored.items():
        rows = _with_occurrence(theirs.filter(pl.col("task") == task))
        if not rows.is_empty():
            ours = _with_occurrence(asked.rows(records, task, own))
            scores = np.zeros(own.scores.size)
            scores[ours["place"].to_numpy()] = _matched(path, task, ours, rows)
            found[task] = ScoredRequests(own.users, scores.reshape(own.scores.shape), own.labels, own.mask)
    if not found:
        tasks = ", ".join(theirs["task"].unique().sort().to_list())
        raise ValueError(f"Expected scores of {' or '.join(scored)} in {path}. Found those of {tasks or 'no task'}.")
    return found


def _read(path: str) -> pl.DataFrame:
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(f"Expected a file of scores at {path}. Found none: `evaluate --scores` writes one.")
    with tf.io.gfile.GFile(path, "rb") as file:
        content = io.BytesIO(file.read())
    try:
        frame = pl.read_parquet(content)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"Expected a Parquet file of scores at {path}. Found another file: {error}.") from error
    missing = [name for name in _READ if name not in frame.columns]
    if missing:
        raise ValueError(
            f"Expected the columns {', '.join(_READ)} in {path}. Missing: {', '.join(missing)}. Take the file that "
            "`evaluate --scores` writes, and put your own scores into its column score."
        )
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in _READ.items())
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"Expected labels and scores that are numbers in {path}. Found others: {reason}.") from error


def _with_occurrence(rows: pl.DataFrame) -> pl.DataFrame:
    """Numbers the rows of an object that was drawn twice as a negative, so that each row is one candidate."""
    rows = rows.sort("label", descending=True, maintain_order=True)
    return rows.with_columns(occurrence=pl.int_range(pl.len()).over("request_id", "candidate"))


def _matched(path: str, task: str, ours: pl.DataFrame, theirs: pl.DataFrame) -> np.ndarray:
    """Returns their scores of our rows; raises an error that names the first difference."""
    for what, columns in (("requests", ["request_id"]), ("candidates", _SAME)):
        missing, beside = ours.join(theirs, columns, "anti"), theirs.join(ours, columns, "anti")
        if len(missing) or len(beside):
            raise ValueError(
                f"Expected the {what} of {task} that are scored here in {path}. "
                f"Missing: {_told(missing, columns)}. Beside them: {_told(beside, columns)}. Take the file that "
                "`evaluate --scores` writes of the same records, the same --split and the same "
                "evaluation_targets_per_user, and put your own scores into its column score."
            )
    together = ours.join(theirs, _SAME, "left", suffix="_found", maintain_order="left")
    other = together.filter(pl.col("label").ne_missing(pl.col("label_found")))
    if len(other):
        row = other.row(0, named=True)
        raise ValueError(
            f"Expected the labels of {task} that are known here in {path}. Found {len(other)} others, the first of "
            f"request {row['request_id']}, candidate {row['candidate']}: {row['label_found']}, not {row['label']}."
        )
    scores: np.ndarray = together["score_found"].fill_null(np.nan).to_numpy()
    return scores


def _told(rows: pl.DataFrame, columns: list[str]) -> str:
    found = rows.unique(columns, maintain_order=True)
    if found.is_empty():
        return "none"
    row = found.row(0, named=True)
    of = f", candidate {row['candidate']}" if "candidate" in columns else ""
    return f"{len(found)}, the first {row['request_id']}{of}"
