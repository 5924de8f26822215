"""What several workers read of the same records: together all of it, and nothing twice."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Batching, Part, Records, evaluation_batches, timeline_batches, training_batches

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


@pytest.mark.parametrize(("kind", "number"), [(training_batches, 3), (timeline_batches, 2)])
def test_in_training_workers_have_all_targets_and_none_twice(records: Records, kind: Any, number: int) -> None:
    shares = [_targets(_epoch(kind(records.of_worker(index, number), **GIVEN))) for index in range(number)]
    assert sum(shares, Counter()) == _targets(_epoch(kind(records, **GIVEN)))


def test_a_worker_with_fewer_batches_sees_some_targets_twice_and_loses_none(records: Records) -> None:
    share = records.of_worker(1, 2)
    own = training_batches(share, **GIVEN)
    more = training_batches(share, **GIVEN, agree=lambda counts: [count + 2 for count in counts])
    assert more.steps == own.steps + 2
    once, twice = _targets(_epoch(own)), _targets(_epoch(more))
    assert once < twice <= once + once


def test_in_evaluation_workers_have_the_batches_of_one(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atrank_tf.data.chunk_reading.USERS_PER_CHUNK", 16)

    def batches(share: Records) -> list[bytes]:
        dataset = evaluation_batches(share, Part.VALIDATION, **GIVEN)
        found = list(dataset.as_numpy_iterator())
        assert len(found) == int(dataset.cardinality())
        return [inputs[f"{TASK}__candidates"].tobytes() for inputs, _, _ in found]  # Negatives too.

    shares = [batches(records.of_worker(index, 2)) for index in range(2)]
    assert all(shares)
    assert sorted(shares[0] + shares[1]) == sorted(batches(records))


def test_workers_draw_other_negatives(records: Records) -> None:
    drawn = []
    for index in range(2):
        batches = training_batches(records.of_worker(index, 2), **GIVEN)
        drawn.append(next(batches.dataset.as_numpy_iterator())[0][f"{TASK}__candidates"][:4, 1:])
    assert drawn[0].shape == drawn[1].shape and (drawn[0] != drawn[1]).any()


def test_more_workers_than_files_are_refused(records: Records) -> None:
    with pytest.raises(ValueError, match=r"a TFRecord file for each worker .* Found 8 .* 9 workers.*--shards=9"):
        records.of_worker(0, 9)
