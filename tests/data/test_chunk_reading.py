"""What one pass over the records counts."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Part, Records, count_targets, positive_counts, requests
from atrank_tf.experiment import Batching

SPLIT = (Part.TRAINING, Part.VALIDATION, Part.TEST)


@pytest.mark.parametrize("task", ["next_purchase", "next_redemption"])
def test_positive_counts_are_those_of_the_training_requests(records: Records, task: str) -> None:
    expected: Counter[int] = Counter()
    for inputs, labels, *_ in requests(records, Part.TRAINING, tasks=[task], settings=Batching(min_history=0)):
        expected.update(inputs[f"{task}__candidates"].numpy()[labels[task].numpy() > 0].tolist())
    counts = positive_counts(records, task)
    entity = records.schema.entity_of(task)
    assert counts.shape == (records.schema.entities[entity].rows,)
    assert {int(row): int(counts[row]) for row in np.flatnonzero(counts)} == dict(expected)
    assert sum(expected.values()) > 20


def test_count_targets_counts_the_requests_of_each_part(records: Records) -> None:
    def rows(part: Part, **options: Any) -> int:
        settings = Batching(**options)
        return sum(len(users) for *_, users in requests(records, part, tasks=["next_purchase"], settings=settings))

    for part in SPLIT:
        assert count_targets(records, "next_purchase", part) == rows(part) > 0
    capped = Batching(evaluation_targets_per_user=1)
    assert count_targets(records, "next_purchase", Part.TEST, capped) == rows(Part.TEST, evaluation_targets_per_user=1)
