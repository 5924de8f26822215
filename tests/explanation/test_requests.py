"""Which requests are explained: those of the users named, or of users with something to see."""

from typing import Any

import numpy as np
import pytest

from atrank_tf.data import count_targets
from atrank_tf.experiment import Batching
from atrank_tf.explanation import Request, requests_of_users, sampled_requests

TASKS = ("next_purchase", "next_redemption")


def test_unnamed_users_are_those_whose_history_holds_the_most(requests: list[Request]) -> None:
    assert len({request.user for request in requests}) == 3
    for request in requests:
        assert request.inputs["purchase__id"].any() and request.inputs["redemption__id"].any()
        assert all(len(value) == 1 for value in request.inputs.values())
        assert request.labels.shape == request.inputs[f"{request.task}__candidates"].shape


def test_named_users_come_in_the_order_they_are_named(records: Any, requests: list[Request]) -> None:
    users = list(dict.fromkeys(request.user for request in requests))[::-1]
    found = requests_of_users(records, "test", TASKS, users, 0)
    assert list(dict.fromkeys(request.user for request in found)) == users
    assert {(r.user, r.task, r.inputs["now"][0]) for r in found} == {
        (r.user, r.task, r.inputs["now"][0]) for r in requests
    }


def test_a_user_without_a_request_is_refused(records: Any) -> None:
    message = "request of next_purchase in validation for each user. Found none of 'nobody': name another part"
    with pytest.raises(ValueError, match=message):
        requests_of_users(records, "validation", ["next_purchase"], ["nobody"], 1)


def test_sampled_requests_are_of_different_users_spread_over_all_and_always_the_same(records: Any) -> None:
    users = [request.user for request in sampled_requests(records, "test", "next_purchase", 12)]
    assert len(users) == len(set(users)) == 12
    every = [request.user for request in sampled_requests(records, "test", "next_purchase", 10_000)]
    assert len(every) == count_targets(records, "next_purchase", "test", Batching(evaluation_targets_per_user=1))
    assert [user for user in every if user in users] == users
    assert np.ptp([every.index(user) for user in users]) > len(every) / 2
