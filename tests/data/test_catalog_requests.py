"""Requests for which all objects are candidates are those that other evaluations have."""

from typing import Any

import numpy as np
import pytest

from atrank_tf.data import CatalogRequests, Records, catalog_requests, requests
from atrank_tf.experiment import Batching

TASK = "next_purchase"
SETTINGS = Batching(evaluation_batch_size=7, evaluation_targets_per_user=3)


def _batches(records: Records) -> list[CatalogRequests]:
    return list(catalog_requests(records, TASK, "test", SETTINGS).as_numpy_iterator())


@pytest.mark.parametrize("whole", [pytest.param(False, marks=pytest.mark.slow), True])
def test_they_are_the_requests_of_every_evaluation_with_the_same_histories(records: Records, whole: bool) -> None:
    others: Any = requests(records, "test", tasks=[TASK], settings=SETTINGS, whole_history=whole)
    for mine, (inputs, labels, _, users) in zip(_batches(records), others.as_numpy_iterator(), strict=True):
        own = mine.whole if whole else mine.inputs
        np.testing.assert_array_equal(mine.users, users)
        np.testing.assert_array_equal(mine.positive, inputs[f"{TASK}__candidates"][labels[TASK] == 1])
        for name, values in own.items():
            np.testing.assert_array_equal(values, inputs[name], err_msg=name)
        assert set(own) == {name for name in inputs if not name.startswith("next_")}


def test_whole_histories_are_longer(records: Records) -> None:
    longest = [
        max(getattr(batch, name)["purchase__id"].shape[1] for batch in _batches(records))
        for name in ("inputs", "whole")
    ]
    assert longest[0] == 10 < longest[1]  # max_length


def test_the_same_moment_has_all_that_the_user_chose_in_that_second(records: Records) -> None:
    settings, chosen = Batching(), {}
    for batch in catalog_requests(records, TASK, "test", settings).as_numpy_iterator():  # All targets of all users.
        for user, now, positive in zip(batch.users, batch.inputs["now"], batch.positive, strict=True):
            chosen.setdefault((user, now), set()).add(positive)
    several = 0
    for batch in _batches(records):
        for user, now, objects in zip(batch.users, batch.inputs["now"], batch.same_moment, strict=True):
            assert set(objects[objects > 0]) == chosen[user, now]
            several += len(chosen[user, now]) > 1
    assert several


def test_impressions_have_no_catalog_to_rank(records: Records) -> None:
    with pytest.raises(ValueError, match="The candidates of next_redemption are impressions: only what was shown"):
        catalog_requests(records, "next_redemption", "test")
