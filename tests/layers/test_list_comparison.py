"""Places and distances within a list, against loops and by hand."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import ListComparison, ListDistance

RNG = np.random.default_rng(0)
NUMBERS = RNG.integers(0, 5, (2, 3, 7, 2)).astype("float32")  # With ties.
MASK = np.arange(7) < RNG.integers(0, 8, (2, 3, 1))


def _by_loops(numbers: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Of one list, [N, F] -> [N, 4 F]."""
    found = np.zeros((len(numbers), 4 * numbers.shape[1]))
    real = numbers[mask].astype("float64")
    for candidate in np.flatnonzero(mask):
        x = numbers[candidate]
        larger, smaller = (real > x).sum(axis=0), (real < x).sum(axis=0)
        apart = x - real.mean(axis=0)
        found[candidate] = np.concatenate(
            [1 / (1 + larger), 1 / (1 + smaller), apart, apart / (real.std(axis=0) + 0.05)]
        )
    return found


def test_three_prices_by_hand() -> None:
    found = ListComparison()(tf.constant([[[30.0], [10.0], [20.0], [99.0]]]), tf.constant([[True, True, True, False]]))
    far = 10 / (np.sqrt(200 / 3) + 0.05)
    np.testing.assert_allclose(
        found, [[[1, 1 / 3, 10, far], [1 / 3, 1, -10, -far], [1 / 2, 1 / 2, 0, 0], [0, 0, 0, 0]]], rtol=1e-5, atol=1e-6
    )


def test_each_list_is_compared_by_itself() -> None:
    found = ListComparison()(NUMBERS, MASK).numpy()
    expected = [[_by_loops(NUMBERS[b, p], MASK[b, p]) for p in range(3)] for b in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("filling", [-1e8, 1e8])
def test_1_padding_changes_nothing(filling: float) -> None:
    dirty = np.where(MASK[..., np.newaxis], NUMBERS, np.float32(filling))
    np.testing.assert_array_equal(ListComparison()(dirty, MASK), ListComparison()(NUMBERS, MASK))
    wider = ListComparison()(np.pad(NUMBERS, [(0, 0), (0, 0), (0, 3), (0, 0)]), np.pad(MASK, [(0, 0), (0, 0), (0, 3)]))
    np.testing.assert_allclose(wider[:, :, :7], ListComparison()(NUMBERS, MASK), rtol=1e-5, atol=1e-6)
    assert not wider[:, :, 7:].numpy().any()


def test_the_order_of_candidates_changes_nothing() -> None:
    order = RNG.permutation(7)
    moved = ListComparison()(NUMBERS[:, :, order], MASK[:, :, order])
    np.testing.assert_allclose(moved, ListComparison()(NUMBERS, MASK).numpy()[:, :, order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}])
def test_graph_and_xla_agree_with_eager(options: Any) -> None:
    layer = ListComparison()
    inputs = tf.constant(NUMBERS), tf.constant(MASK)
    np.testing.assert_allclose(tf.function(layer.__call__, **options)(*inputs), layer(*inputs), rtol=1e-5, atol=1e-6)


def test_in_a_functional_model_and_from_its_config() -> None:
    numbers, mask = keras.Input((None, 2)), keras.Input((None,), dtype="bool")
    found = ListComparison.from_config(ListComparison().get_config())(numbers, mask)
    assert found.shape == (None, None, 8)
    model = keras.Model([numbers, mask], found)
    np.testing.assert_array_equal(model([NUMBERS[0], MASK[0]]), ListComparison()(NUMBERS[0], MASK[0]))


def test_places_below_the_last_by_hand() -> None:
    position = tf.constant([[1.0, 2.0, 5.0, np.nan], [3.0, 1.0, 2.0, 0.0]])
    found = ListDistance(2)(position, tf.constant([[0.5, 0.9, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0]]))
    expected = np.zeros((2, 4, 5))
    expected[0, 0, 1] = expected[0, 1, 2] = expected[0, 2, 4] = 1  # One above, itself, three below.
    np.testing.assert_array_equal(found, expected)


def test_lists_without_candidates_have_nothing_to_compare() -> None:
    assert ListComparison()(tf.zeros([2, 3, 0, 2]), tf.zeros([2, 3, 0], tf.bool)).shape == (2, 3, 0, 8)
    assert ListDistance(4)(tf.zeros([2, 3, 0]), tf.zeros([2, 3, 0])).shape == (2, 3, 0, 9)


def test_a_distance_in_a_functional_model_and_from_its_config() -> None:
    position, last = keras.Input((None,)), keras.Input((None,))
    found = ListDistance.from_config(ListDistance(3).get_config())(position, last)
    assert found.shape == (None, None, 7)
    given = [np.arange(5, dtype="float32")[np.newaxis], np.eye(5, dtype="float32")[[2]]]
    np.testing.assert_array_equal(keras.Model([position, last], found)(given), ListDistance(3)(*given))
