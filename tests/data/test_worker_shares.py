"""What several workers read of the same records: together all of it, and nothing twice."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Part, Records, TrainingBatches, evaluation_batches, timeline_batches, training_batches
from atrank_tf.experiment import Batching

TASK = "next_purchase"
GIVEN: dict[str, Any] = {"tasks": [TASK], "settings": Batching(batch_size=8, batch_tokens=64)}


def _targets(batches: Any) -> Counter[Any]:
    """How often each target is in batches: (moment, positive)."""
    found: Counter[Any] = Counter()
    for inputs, labels, _ in batches.as_numpy_iterator():
        positive = labels[TASK] > 0
        now = inputs["now"] if "now" in inputs else inputs[f"{TASK}__now"]
        moments = np.broadcast_to(now.reshape(*positive.shape[:-1], 1), positive.shape)[positive]
        found.update(zip(moments.tolist(), inputs[f"{TASK}__candidates"][positive].tolist(), strict=True))
    return found


def _epoch(batches: Any) -> Any:
    return batches.dataset.take(batches.steps)


@pytest.fixture(scope="module")
def shares(plain: Records) -> list[TrainingBatches]:
    """What each of two workers trains on."""
    return [training_batches(plain.of_worker(index, 2), **GIVEN) for index in range(2)]


def test_in_training_workers_have_all_targets_and_none_twice(plain: Records, shares: list[TrainingBatches]) -> None:
    together = sum((_targets(_epoch(share)) for share in shares), Counter())
    assert together == _targets(_epoch(training_batches(plain, **GIVEN)))


@pytest.mark.slow
def test_of_timelines_too(plain: Records) -> None:
    shares = [_targets(_epoch(timeline_batches(plain.of_worker(index, 2), **GIVEN))) for index in range(2)]
    assert sum(shares, Counter()) == _targets(_epoch(timeline_batches(plain, **GIVEN)))


def test_a_worker_with_fewer_batches_sees_some_targets_twice_and_loses_none(
    plain: Records, shares: list[TrainingBatches]
) -> None:
    own = shares[1]
    more = training_batches(plain.of_worker(1, 2), **GIVEN, agree=lambda counts: [count + 2 for count in counts])
    assert more.steps == own.steps + 2
    once, twice = _targets(_epoch(own)), _targets(_epoch(more))
    assert once < twice <= once + once


@pytest.mark.parametrize(
    ("users", "workers"),
    [(25, 2), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((16, 2), (50, 2), (2048, 3), (16, 3)))],
)
def test_in_evaluation_workers_have_the_batches_of_one_in_even_shares(
    plain: Records, monkeypatch: pytest.MonkeyPatch, users: int, workers: int
) -> None:
    """60 users in chunks of so many: three, four, two of which the second is small, one, and four for three workers."""
    monkeypatch.setattr("atrank_tf.data.chunk_reading.USERS_PER_CHUNK", users)
    given = GIVEN | {"settings": Batching(evaluation_batch_size=2)}

    def batches(share: Records) -> list[bytes]:
        dataset = evaluation_batches(share, Part.VALIDATION, **given)
        found = list(dataset.as_numpy_iterator())
        assert len(found) == int(dataset.cardinality())
        return [inputs[f"{TASK}__candidates"].tobytes() for inputs, _, _ in found]  # Negatives too.

    shares = [batches(plain.of_worker(index, workers)) for index in range(workers)]
    assert sorted(batch for share in shares for batch in share) == sorted(batches(plain))
    sizes = [len(share) for share in shares]
    assert max(sizes) < 1.35 * sum(sizes) / workers, sizes


def test_workers_draw_other_negatives(shares: list[TrainingBatches]) -> None:
    batches = [next(share.dataset.as_numpy_iterator()) for share in shares]
    drawn = [inputs[f"{TASK}__candidates"][:4, 1:] for inputs, *_ in batches]
    assert drawn[0].shape == drawn[1].shape and (drawn[0] != drawn[1]).any()


def test_more_workers_than_files_are_refused(plain: Records) -> None:
    with pytest.raises(ValueError, match=r"a TFRecord file for each worker .* Found 8 .* 9 workers.*--shards=9"):
        plain.of_worker(0, 9)
