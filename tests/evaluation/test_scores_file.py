"""Files of scores: what is written is read again, by rankers that ask in another order; what differs is told."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from atrank_tf.data import Records
from atrank_tf.evaluation import (
    AskedRequests,
    ScoredRequests,
    evaluate,
    paired_difference,
    read_scores,
    score_requests,
    write_scores,
)
from atrank_tf.experiment import Batching

TASKS = ["next_purchase", "next_redemption"]
COLUMNS = ["task", "request_id", "user_id", "timestamp", "candidate", "label", "score"]


def _noise(task: str, inputs: Mapping[str, Any], users: np.ndarray) -> np.ndarray:
    """Scores that depend on who asks for what and when, as those of a model."""
    candidates, now = inputs[f"{task}__candidates"].numpy(), inputs["now"].numpy()
    known = np.array([sum(map(ord, user)) for user in users])[:, np.newaxis]
    scores: np.ndarray = np.sin(candidates * 7.0 + known * 3.0 + now[:, np.newaxis] % 1_000)
    return scores


def _score(
    records: Records, score: Any = _noise, part: str = "test", **sizes: int
) -> tuple[AskedRequests, dict[str, ScoredRequests]]:
    asked, tasks = AskedRequests(), [task for task in TASKS if task in records.schema.tasks]
    found = score_requests({"mine": score}, tasks, records, part, Batching(**sizes), watch=asked)
    return asked, found["mine"]


@pytest.fixture(scope="module")
def asked_and_scored(records: Records) -> tuple[AskedRequests, dict[str, ScoredRequests]]:
    return _score(records)


@pytest.fixture(scope="module")
def written(
    records: Records,
    asked_and_scored: tuple[AskedRequests, dict[str, ScoredRequests]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("scores") / "scores.parquet"
    write_scores(str(path), records, *asked_and_scored)
    return path


Read = Callable[[pl.DataFrame], dict[str, ScoredRequests]]


@pytest.fixture
def read(records: Records, asked_and_scored: tuple[AskedRequests, dict[str, ScoredRequests]], tmp_path: Path) -> Read:
    """Reads a frame as a file of scores of the same requests."""

    def read(frame: pl.DataFrame) -> dict[str, ScoredRequests]:
        frame.write_parquet(tmp_path / "given.parquet")
        return read_scores(str(tmp_path / "given.parquet"), records, *asked_and_scored)

    return read


def _same(one: Mapping[str, ScoredRequests], other: Mapping[str, ScoredRequests]) -> None:
    assert set(one) == set(other)
    for task, found in one.items():
        expected = other[task]
        np.testing.assert_array_equal(found.users, expected.users)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.mask, expected.mask)
        np.testing.assert_array_equal(found.scores[found.mask], expected.scores[expected.mask])


def test_a_file_has_a_row_for_each_candidate_with_raw_ids(
    records: Records, written: Path, asked_and_scored: tuple[AskedRequests, dict[str, ScoredRequests]], logs: Path
) -> None:
    frame, scored = pl.read_parquet(written), asked_and_scored[1]
    assert frame.columns == COLUMNS
    assert len(frame) == sum(int(found.mask.sum()) for found in scored.values())
    bought = pl.read_csv(logs / "behaviors/purchase.csv").select("user_id", "timestamp", candidate="product_id")
    positives = frame.filter(task="next_purchase", label=1)
    assert positives.join(bought, on=["user_id", "timestamp", "candidate"], how="anti").is_empty()
    shown = pl.read_parquet(logs / "impressions/next_redemption.parquet").with_columns(
        candidate=pl.col("coupon_id").cast(pl.String)
    )
    of_task = frame.filter(task="next_redemption")
    labels = of_task.join(shown, on=["user_id", "timestamp", "candidate"], suffix="_shown")
    assert len(labels) == len(of_task) and (labels["label"] == labels["label_shown"]).all()
    one = frame.row(0, named=True)
    assert one["request_id"] == f"{one['user_id']}/{one['timestamp']}/0"
    requests = frame.group_by("task", "request_id").agg(pl.len())
    assert len(requests) == sum(len(found.users) for found in scored.values())


def test_the_first_row_of_a_request_does_not_tell_the_positive(written: Path) -> None:
    first = pl.read_parquet(written).filter(task="next_purchase").group_by("request_id").first()
    assert 0 < first["label"].mean() < 0.6  # Of five candidates one is positive.


def test_what_was_written_is_read(
    records: Records, written: Path, asked_and_scored: tuple[AskedRequests, dict[str, ScoredRequests]], read: Read
) -> None:
    _same(read_scores(str(written), records, *asked_and_scored), asked_and_scored[1])
    shuffled = pl.read_parquet(written).sample(fraction=1.0, shuffle=True, seed=3).drop("user_id", "timestamp")
    _same(read(shuffled), asked_and_scored[1])


def test_a_ranker_that_asks_in_another_order_writes_the_same_file(
    records: Records, written: Path, asked_and_scored: tuple[AskedRequests, dict[str, ScoredRequests]], tmp_path: Path
) -> None:
    asked, scored = _score(records.select(["purchase"]), evaluation_batch_size=7)
    assert scored["next_purchase"].users.tolist() != asked_and_scored[1]["next_purchase"].users.tolist()
    write_scores(str(tmp_path / "other.parquet"), records, asked, scored)
    frame = pl.read_parquet(written)
    assert pl.read_parquet(tmp_path / "other.parquet").equals(frame.filter(task="next_purchase"))
    found = read_scores(str(written), records, asked, scored)
    _same(found, scored)


def test_scores_of_elsewhere_are_compared_by_the_paired_test(
    asked_and_scored: tuple[AskedRequests, dict[str, ScoredRequests]], written: Path, read: Read
) -> None:
    best = read(pl.read_parquet(written).with_columns(score=pl.col("label").cast(pl.Float64)))
    scored = asked_and_scored[1]
    for task, found in best.items():
        assert evaluate(found)["user_auc"].value == 1.0
        assert paired_difference(found, scored[task]).difference > 0.2


def test_a_task_that_the_file_does_not_have_is_left_out(written: Path, read: Read) -> None:
    assert list(read(pl.read_parquet(written).filter(task="next_redemption"))) == ["next_redemption"]


def _edited(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """Returns a frame with other values in one row."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(value, frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("score", "label"), r"Expected the columns task, .* Missing: label, score\. Take the file"),
        (
            lambda f: f.with_columns(score=pl.lit("high")),
            r"Expected labels and scores that are numbers in .*conversion",
        ),
        (lambda f: f.with_columns(task=pl.lit("x")), r"scores of next_purchase or next_redemption in .*those of x\."),
        (lambda f: f.clear(), r"Expected scores of next_purchase or next_redemption in .* Found those of no task\."),
        (
            lambda f: f.filter(pl.col("request_id") != f["request_id"][0]),
            r"Expected the requests of next_purchase .* Missing: 1, the first u0/\d+/0\. Beside them: none\. Take",
        ),
        (
            lambda f: pl.concat([f, f.head(1).with_columns(request_id=pl.lit("z/1/0"))]),
            r"Expected the requests of next_purchase .* Missing: none\. Beside them: 1, the first z/1/0\.",
        ),
        (
            lambda f: _edited(f, 1, candidate="p99"),
            r"the candidates of next_purchase .* Missing: 1, the first u0/\d+/0, candidate p\d+\. Beside them: 1, the "
            r"first u0/\d+/0, candidate p99\.",
        ),
        (lambda f: pl.concat([f, f.head(1)]), r"the candidates of .* Missing: none\. Beside them: 1, the first u0/"),
        (
            lambda f: _edited(f, 0, label=1 - f["label"][0]),
            r"the labels of next_purchase .* Found 1 others, the first of request u0/\d+/0, candidate p\d+: \d, not \d",
        ),
        (lambda f: _edited(f, 2, score=None), r"scores must be finite at real candidates\. Received: 1 NaN and 0 inf"),
    ],
)
def test_what_differs_is_told(written: Path, read: Read, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(change(pl.read_parquet(written)))


def test_other_requests_are_told(records: Records, written: Path) -> None:
    with pytest.raises(ValueError, match=r"the same --split and the same evaluation_targets_per_user"):
        read_scores(str(written), records, *_score(records, part="validation"))


def test_no_file_and_another_file(
    records: Records, asked_and_scored: tuple[AskedRequests, dict[str, ScoredRequests]], tmp_path: Path
) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(FileNotFoundError, match=r"Expected a file of scores at .*x\.parquet\. Found none"):
        read_scores(str(path), records, *asked_and_scored)
    path.write_text("request_id,candidate,score\n")
    with pytest.raises(ValueError, match=r"Expected a Parquet file of scores at .*x\.parquet\. Found another file"):
        read_scores(str(path), records, *asked_and_scored)
