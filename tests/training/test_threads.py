"""The cores, divided among the slices of a batch."""

import os

import pytest
import tensorflow as tf

from atrank_tf.training import divide_threads


@pytest.mark.parametrize(
    ("slices", "expected"), [(1, []), (2, [("intra", 3), ("inter", 6)]), (8, [("intra", 1), ("inter", 6)])]
)
def test_each_operation_has_the_threads_of_its_slice(
    slices: int, expected: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    for name in ("intra", "inter"):
        monkeypatch.setattr(
            tf.config.threading,
            f"set_{name}_op_parallelism_threads",
            lambda threads, name=name: told.append((name, threads)),
        )
    divide_threads(slices)
    assert told == expected  # With one slice, as TensorFlow will have it.
