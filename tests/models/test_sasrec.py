"""SASRec: what a behavior sees, what is read."""

from typing import Any

import keras
import numpy as np

from atrank_tf.models import SASRec


def test_a_behavior_sees_only_what_came_before_it(records: Any) -> None:
    keras.utils.set_random_seed(0)
    model = SASRec(records.schema, hidden_dim=6, num_heads=2, intermediate_dim=5, ranking=["dot"])
    behaviors = np.random.default_rng(0).normal(size=(1, 5, 6)).astype("float32")
    mask = np.ones((1, 5), bool)
    before = np.asarray(model.encode(behaviors, mask))[0]
    for changed in range(5):
        other = behaviors.copy()
        other[0, changed] += 1.0
        moved = (np.abs(np.asarray(model.encode(other, mask))[0] - before) > 1e-6).any(axis=-1)
        np.testing.assert_array_equal(moved, np.arange(5) >= changed)


def test_every_candidate_reads_the_state_of_the_newest_behavior(records: Any) -> None:
    model = SASRec(records.schema, hidden_dim=2, intermediate_dim=2, ranking=["dot"])
    memory = np.array([[[1.0, 8.0], [3.0, 2.0], [99.0, 99.0]]], np.float32)
    found = model.read(np.zeros((1, 2, 2), np.float32), memory, np.array([[True, True, False]]))
    np.testing.assert_array_equal(np.asarray(found), [[[3.0, 2.0], [3.0, 2.0]]])
