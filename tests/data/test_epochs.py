"""How tasks share an epoch."""

import pytest

from atrank_tf.data.chunk_reading import mix


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, {"a": 90, "b": 10}), (2.0, {"a": 75, "b": 25}), (1e9, {"a": 50, "b": 50})],
)
def test_shares_go_by_the_root_of_the_batches(temperature, expected):
    # At 2: 9.487 and 3.162, three to one.
    assert mix({"a": 90, "b": 10}, temperature) == expected


def test_no_task_is_rounded_away():
    assert mix({"a": 10_000, "b": 1}, 1.0) == {"a": 10_000, "b": 1}
    assert mix({"a": 3, "b": 1, "c": 1}, 50.0)["b"] >= 1
