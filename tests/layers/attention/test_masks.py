"""Masks: the softmax under a mask against its definition, zeros at padding, factors by view."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import additive_mask, zero_padding
from atrank_tf.layers.attention.masks import scale_by_view

B, Q, T = 3, 7, 5
MASK = np.arange(T) < np.array([[5], [2], [1]])


def _scores(seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(B, Q, T))


def _expected(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = np.zeros(scores.shape)
    for place in np.ndindex(scores.shape[:-1]):
        real = np.broadcast_to(mask, scores.shape)[place]
        if real.any():
            powers = np.exp(scores[place][real] - scores[place][real].max())
            weights[place][real] = powers / powers.sum()
    return weights


def _softmax(scores: Any, mask: Any) -> np.ndarray:
    scores = tf.constant(scores)
    return np.asarray(tf.nn.softmax(scores + additive_mask(tf.constant(mask), scores.dtype.name)))


def test_weights_by_hand() -> None:
    found = _softmax([[np.log(1.0), np.log(3.0), 50.0]], [[True, True, False]])
    np.testing.assert_allclose(found, [[0.25, 0.75, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_weights_are_the_softmax_over_what_is_real(scale: float) -> None:
    scores = _scores(scale=scale)
    np.testing.assert_allclose(_softmax(scores, MASK[:, None, :]), _expected(scores, MASK[:, None, :]), atol=1e-12)


def test_the_mask_may_have_holes_anywhere() -> None:
    mask = np.array([[False, True, False, True, True], [True, False, False, False, False], [False] * 4 + [True]])
    scores = _scores(1)
    np.testing.assert_allclose(_softmax(scores, mask[:, None, :]), _expected(scores, mask[:, None, :]), atol=1e-12)


def test_rows_sum_to_one() -> None:
    np.testing.assert_allclose(_softmax(_scores(2), MASK[:, None, :]).sum(-1), 1.0, rtol=1e-12)


def test_padding_has_weight_exactly_zero_whatever_its_score() -> None:
    scores = _scores(3)
    expected = _softmax(scores, MASK[:, None, :])
    np.testing.assert_array_equal(expected * ~MASK[:, None, :], 0.0)
    for garbage in (1e9, -1e9):
        dirty = np.where(MASK[:, None, :], scores, garbage)
        np.testing.assert_array_equal(_softmax(dirty, MASK[:, None, :]), expected)


def test_adding_a_number_to_all_scores_changes_nothing() -> None:
    scores = _scores(4)
    for shift in (-1e5, 1e5):
        np.testing.assert_allclose(
            _softmax(scores + shift, MASK[:, None, :]), _softmax(scores, MASK[:, None, :]), atol=1e-9
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_laws_hold_in_every_float_type(dtype: str) -> None:
    scores = tf.cast(_scores(5, scale=4.0), dtype)
    weights = tf.nn.softmax(scores + additive_mask(tf.constant(MASK[:, None, :]), dtype))
    assert weights.dtype == dtype
    found = np.asarray(tf.cast(weights, "float64"))
    np.testing.assert_allclose(found, _expected(_scores(5, scale=4.0), MASK[:, None, :]), atol=0.03)
    np.testing.assert_array_equal(found * ~MASK[:, None, :], 0.0)


def test_no_behaviors_at_all_give_weights_of_no_behaviors() -> None:
    assert _softmax(np.zeros((B, Q, 0), "float32"), np.zeros((B, 1, 0), bool)).shape == (B, Q, 0)


def test_padding_is_zero_and_the_rest_as_it_was() -> None:
    values = np.random.default_rng(6).normal(size=(B, T, 2))
    found = np.asarray(zero_padding(tf.constant(values), tf.constant(MASK)))
    np.testing.assert_array_equal(found, np.where(MASK[..., None], values, 0.0))


@pytest.mark.parametrize("views", [1, 2, 6])
def test_consecutive_queries_share_the_factor_of_their_view(views: int) -> None:
    rng = np.random.default_rng(7)
    values, factors = rng.normal(size=(B, 6, 2)), rng.normal(size=(B, views, 1))
    found = scale_by_view(tf.constant(values), tf.constant(factors))
    np.testing.assert_array_equal(np.asarray(found), values * np.repeat(factors, 6 // views, axis=1))
