"""Losses that compare the candidates of a request, against sums over pairs and lists written out."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.losses import ListwiseCrossentropy, PairwiseCrossentropy

B, P, N = 2, 3, 7
RNG = np.random.default_rng(0)
LABELS = (RNG.random((B, P, N)) < 0.4).astype("float32")
LOGITS = (3 * RNG.normal(size=(B, P, N))).astype("float32")
WEIGHTS = (5 * RNG.random((B, P, N)) * (np.arange(N) < RNG.integers(0, N + 1, (B, P, 1)))).astype("float32")


def _by_pairs(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    """-log sigmoid(positive - negative), averaged over pairs by weight."""
    total = counted = 0.0
    for y, s, w in zip(*(each.reshape(-1, N).astype("float64") for each in (labels, logits, weights)), strict=True):
        for i in range(N):
            for j in range(N):
                pair = w[i] * w[j] * y[i] * (1 - y[j])
                total += pair * np.log1p(np.exp(s[j] - s[i]))
                counted += pair
    return total / counted


def _by_lists(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    """-log softmax of each positive, averaged over positives by weight; a candidate of weight w is w candidates."""
    total = counted = 0.0
    for y, s, w in zip(*(each.reshape(-1, N).astype("float64") for each in (labels, logits, weights)), strict=True):
        for i in range(N):
            total += w[i] * y[i] * (np.log(max((w * np.exp(s)).sum(), 1e-300)) - s[i])
            counted += w[i] * y[i]
    return total / counted


KINDS = [(PairwiseCrossentropy, _by_pairs), (ListwiseCrossentropy, _by_lists)]
kinds = pytest.mark.parametrize(("kind", "expected"), KINDS, ids=["pairwise", "listwise"])


def _loss_and_gradient(kind: Any, labels: Any, logits: Any, weights: Any = None) -> tuple[float, np.ndarray]:
    logits = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = kind()(labels, logits, weights)
    assert (loss.dtype, loss.shape) == ("float32", ())
    return float(loss), np.asarray(tape.gradient(loss, logits))


def test_a_pairwise_loss_by_hand() -> None:
    # The positive is ahead of one negative by log 4 and of the other by log 1/3: -log 0.8 and -log 0.25.
    loss, gradient = _loss_and_gradient(PairwiseCrossentropy, [[1.0, 0.0, 0.0]], np.log([[4.0, 1.0, 12.0]]))
    assert loss == pytest.approx((np.log(1.25) + np.log(4)) / 2, rel=1e-6)
    np.testing.assert_allclose(gradient, [[-(0.2 + 0.75) / 2, 0.2 / 2, 0.75 / 2]], rtol=1e-5)


def test_a_listwise_loss_by_hand() -> None:
    # Shares 1/8, 2/8, 5/8; both the first and the last are positives.
    logits = np.log([[1.0, 2.0, 5.0]])
    loss, gradient = _loss_and_gradient(ListwiseCrossentropy, [[1.0, 0.0, 1.0]], logits)
    assert loss == pytest.approx((np.log(8) + np.log(8 / 5)) / 2, rel=1e-6)
    np.testing.assert_allclose(gradient, [[1 / 8 - 1 / 2, 2 / 8, 5 / 8 - 1 / 2]], rtol=1e-5)


@kinds
def test_the_loss_is_the_mean_over_all_requests(kind: Any, expected: Any) -> None:
    loss, _ = _loss_and_gradient(kind, LABELS, LOGITS)
    assert loss == pytest.approx(expected(LABELS, LOGITS, np.ones_like(LABELS)), rel=1e-5)


@kinds
def test_a_candidate_counts_by_its_weight(kind: Any, expected: Any) -> None:
    loss, _ = _loss_and_gradient(kind, LABELS, LOGITS, WEIGHTS)
    assert loss == pytest.approx(expected(LABELS, LOGITS, WEIGHTS), rel=1e-5)


@kinds
def test_padding_changes_neither_loss_nor_gradient(kind: Any, expected: Any) -> None:
    loss, gradient = _loss_and_gradient(kind, LABELS, LOGITS, WEIGHTS)
    np.testing.assert_array_equal(gradient[WEIGHTS == 0], 0.0)
    dirty = np.where(WEIGHTS > 0, LOGITS, 1e6), np.where(WEIGHTS > 0, LABELS, 1.0)
    found, dirty_gradient = _loss_and_gradient(kind, dirty[1], dirty[0], WEIGHTS)
    assert found == loss
    np.testing.assert_array_equal(dirty_gradient, gradient)


@kinds
def test_what_all_candidates_of_a_request_share_cancels_out(kind: Any, expected: Any) -> None:
    loss, _ = _loss_and_gradient(kind, LABELS, LOGITS)
    shifted, _ = _loss_and_gradient(kind, LABELS, LOGITS + RNG.normal(size=(B, P, 1)))
    assert shifted == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        (PairwiseCrossentropy, np.zeros((2, 3))),
        (PairwiseCrossentropy, np.ones((2, 3))),
        (PairwiseCrossentropy, np.zeros((2, 0))),
        (ListwiseCrossentropy, np.zeros((2, 3))),
        (ListwiseCrossentropy, np.ones((2, 1))),
        (ListwiseCrossentropy, np.zeros((2, 0))),
    ],
)
def test_a_batch_with_nothing_to_compare_has_loss_0(kind: Any, labels: np.ndarray) -> None:
    loss, gradient = _loss_and_gradient(kind, labels, np.zeros(labels.shape))
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, np.zeros(labels.shape))


@kinds
def test_graph_and_xla_agree_with_eager(kind: Any, expected: Any) -> None:
    loss = kind()
    inputs = [tf.constant(value) for value in (LABELS, LOGITS, WEIGHTS)]
    eager = float(loss(*inputs))
    for options in ({}, {"jit_compile": True}):
        assert float(tf.function(loss.__call__, **options)(*inputs)) == pytest.approx(eager, rel=1e-6)


@kinds
def test_the_config_gives_the_same_loss(kind: Any, expected: Any) -> None:
    config = keras.saving.serialize_keras_object(kind(name="clicks"))
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, kind)
    assert again.name == "clicks"
