"""Repeats, added up by hand."""

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import RepeatHead

# Two buckets after the first: from 10 and from 100 seconds on. Actions 0 and 1.
TABLE = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
OBJECTS, ACTIONS, TIMESTAMP = [[5, 7, 5, 0], [0, 0, 0, 0]], [[0, 1, 1, 0], [0, 0, 0, 0]], [[10, 60, 105, 0], [0] * 4]
NOW = [[110, 111], [110, 110]]
SEEN = [[[True, True, True, False], [True, True, False, False]], [[False] * 4] * 2]
CANDIDATES = [[[5, 7, 9], [7, 5, -1]], [[5, 7, 9], [5, -1, -1]]]
# At 110: object 5 was acted on 100 seconds ago by action 0 and 5 seconds ago by action 1, 7 50 seconds ago by 1.
EXPECTED = [[[4 + 8, 16, 0], [16, 4, 0]], [[0, 0, 0], [0, 0, 0]]]


@pytest.fixture
def layer() -> RepeatHead:
    layer = RepeatHead((10, 100), 2)
    layer.build()
    layer.table.assign(TABLE)
    return layer


def _tensors() -> list[tf.Tensor]:
    numbers = [tf.constant(each, tf.int64) for each in (CANDIDATES, OBJECTS, ACTIONS)]
    return [*numbers, tf.constant(SEEN), tf.constant(NOW, tf.int64), tf.constant(TIMESTAMP, tf.int64)]


def test_each_behavior_on_the_candidate_adds_what_its_action_and_age_say(layer: RepeatHead) -> None:
    np.testing.assert_array_equal(np.asarray(layer(*_tensors())), EXPECTED)


def test_the_gradient_counts_the_behaviors(layer: RepeatHead) -> None:
    with tf.GradientTape() as tape:
        first = layer(*_tensors())[0, 0, 0]
    gradient = tape.gradient(first, layer.table.value)
    np.testing.assert_array_equal(np.asarray(gradient), [[0, 0, 1], [1, 0, 0]])


def test_it_starts_at_0() -> None:
    np.testing.assert_array_equal(np.asarray(RepeatHead((10, 100), 2)(*_tensors())), 0)


def test_boundaries_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected ascending boundaries above 0"):
        RepeatHead((10, 10), 2)


def test_no_actions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_actions must be positive\. Received: num_actions=0\."):
        RepeatHead((10,), 0)
