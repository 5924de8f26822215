import numpy as np
import pytest

from atrank_tf.layers import PointInTime

OBJECTS = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])


@pytest.fixture
def layer() -> PointInTime:
    layer = PointInTime(4)
    layer.load(np.array([0, 99, 5, 7]))
    return layer


def test_4_what_is_known_later_is_marked_in_training(layer: PointInTime) -> None:
    found = layer(OBJECTS, np.array([[6], [8]]), training=True)
    np.testing.assert_array_equal(found, [[0, -1, 2, -3], [3, 2, -1, 0]])
    np.testing.assert_array_equal(layer(OBJECTS, np.full((2, 4), 4), training=True), [[0, -1, -2, -3], [-3, -2, -1, 0]])


def test_a_server_knows_what_training_knew_at_its_end(layer: PointInTime) -> None:
    np.testing.assert_array_equal(layer(OBJECTS, np.array([[0], [0]])), OBJECTS)


def test_all_is_known_until_times_are_loaded() -> None:
    np.testing.assert_array_equal(PointInTime(4)(OBJECTS, np.array([[1], [1]]), training=True), OBJECTS)


def test_wrong_arguments_are_refused(layer: PointInTime) -> None:
    with pytest.raises(ValueError, match=r"num_objects must be positive\. Received: num_objects=0"):
        PointInTime(0)
    with pytest.raises(ValueError, match=r"Expected times of shape \(4,\), one for each object\. Received: \(3,\)"):
        layer.load(np.zeros(3))
