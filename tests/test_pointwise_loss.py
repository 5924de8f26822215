"""The loss against -z log p - (1 - z) log(1 - p), averaged by weight."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.losses import PointwiseCrossentropy

B, N = 3, 7
RNG = np.random.default_rng(0)
LABELS = (RNG.random((B, N)) < 0.3).astype("float32")
LOGITS = (3 * RNG.normal(size=(B, N))).astype("float32")
WEIGHTS = (np.arange(N) < np.array([[7], [2], [0]])).astype("float32")


def _losses(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    share = 1 / (1 + np.exp(-logits.astype("float64")))
    return -labels * np.log(share) - (1 - labels) * np.log(1 - share)


def _loss_and_gradient(labels: Any, logits: Any, weights: Any = None) -> tuple[float, np.ndarray]:
    logits = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = PointwiseCrossentropy()(labels, logits, weights)
    assert (loss.dtype, loss.shape) == ("float32", ())
    return float(loss), np.asarray(tape.gradient(loss, logits))


def test_a_loss_by_hand() -> None:
    # -log 0.8 for the positive and -log 0.75 for the negative.
    loss, gradient = _loss_and_gradient([[1.0, 0.0]], np.log([[4.0, 1 / 3]]))
    assert loss == pytest.approx((np.log(1.25) + np.log(4 / 3)) / 2, rel=1e-6)
    np.testing.assert_allclose(gradient, [[-0.2 / 2, 0.25 / 2]], rtol=1e-5)


def test_the_loss_is_the_mean_crossentropy_of_all_candidates() -> None:
    loss, gradient = _loss_and_gradient(LABELS, LOGITS)
    assert loss == pytest.approx(_losses(LABELS, LOGITS).mean(), rel=1e-5)
    expected = (1 / (1 + np.exp(-LOGITS.astype("float64"))) - LABELS) / LABELS.size
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-8)


def test_candidates_count_by_their_weight_over_the_whole_batch() -> None:
    weights = (5 * RNG.random((B, N))).astype("float32")
    loss, _ = _loss_and_gradient(LABELS, LOGITS, weights)
    assert loss == pytest.approx(np.average(_losses(LABELS, LOGITS), weights=weights), rel=1e-5)


def test_padding_changes_neither_loss_nor_gradient() -> None:
    loss, gradient = _loss_and_gradient(LABELS, LOGITS, WEIGHTS)
    assert loss == pytest.approx(_losses(LABELS, LOGITS)[WEIGHTS > 0].mean(), rel=1e-5)
    np.testing.assert_array_equal(gradient[WEIGHTS == 0], 0.0)
    dirty = np.where(WEIGHTS > 0, LOGITS, 1e6), np.where(WEIGHTS > 0, LABELS, 1.0)
    found, dirty_gradient = _loss_and_gradient(dirty[1], dirty[0], WEIGHTS)
    assert found == loss
    np.testing.assert_array_equal(dirty_gradient, gradient)


def test_weights_count_only_in_relation_to_each_other() -> None:
    loss, _ = _loss_and_gradient([[1.0, 0.0, 0.0]], [[1.0, 2.0, 3.0]], [[0.2, 0.1, 0.1]])
    expected, _ = _loss_and_gradient([[1.0, 0.0, 0.0]], [[1.0, 2.0, 3.0]], [[20.0, 10.0, 10.0]])
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(B, 0), (0, 0), (0, N)])
def test_a_batch_without_candidates_has_loss_and_gradient_zero(shape: tuple[int, int]) -> None:
    empty = np.zeros(shape, "float32")
    for weights in (None, empty):
        loss, gradient = _loss_and_gradient(empty, empty, weights)
        assert loss == 0.0
        assert gradient.shape == shape


def test_a_batch_without_candidates_moves_no_weight() -> None:
    kernel = tf.Variable([[2.0], [3.0]])
    with tf.GradientTape() as tape:
        logits = tf.squeeze(tf.zeros([B, 0, 2]) @ kernel, axis=-1)
        loss = PointwiseCrossentropy()(tf.zeros([B, 0]), logits, tf.zeros([B, 0]))
    np.testing.assert_array_equal(np.asarray(tape.gradient(loss, kernel)), 0.0)


def test_only_padding_has_loss_and_gradient_zero() -> None:
    loss, gradient = _loss_and_gradient(LABELS, LOGITS, np.zeros((B, N)))
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("size", [50.0, 1e4, 1e30])
def test_extreme_logits_have_a_finite_loss_and_the_gradient_of_the_sigmoid(size: float) -> None:
    loss, gradient = _loss_and_gradient([[1.0, 0.0, 1.0, 0.0]], [[size, size, -size, -size]])
    assert loss == pytest.approx(size / 2, rel=1e-6)
    np.testing.assert_allclose(gradient, [[0.0, 0.25, -0.25, 0.0]], atol=1e-12)


def test_logits_that_are_right_have_a_small_loss_not_zero() -> None:
    loss, _ = _loss_and_gradient([[1.0, 0.0]], [[30.0, -30.0]])
    assert loss == pytest.approx(np.exp(-30), rel=1e-4)


def test_a_logit_of_exactly_zero_has_the_gradient_of_the_sigmoid() -> None:
    loss, gradient = _loss_and_gradient([[1.0, 0.0]], [[0.0, 0.0]])
    assert loss == pytest.approx(np.log(2), rel=1e-6)
    np.testing.assert_allclose(gradient, [[-0.25, 0.25]], rtol=1e-6)


def test_labels_between_zero_and_one_are_allowed() -> None:
    labels = RNG.random((B, N)).astype("float32")
    loss, _ = _loss_and_gradient(labels, LOGITS)
    assert loss == pytest.approx(_losses(labels, LOGITS).mean(), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_loss_is_computed_in_float32_whatever_comes_in(dtype: str) -> None:
    logits = tf.cast(LOGITS, dtype)
    loss = PointwiseCrossentropy()(tf.cast(LABELS, "int64"), logits, tf.cast(WEIGHTS, dtype))
    assert loss.dtype == "float32"
    rounded = np.asarray(tf.cast(logits, "float64"))
    assert float(loss) == pytest.approx(_losses(LABELS, rounded)[WEIGHTS > 0].mean(), rel=1e-5)


def test_graph_and_xla_agree_with_eager() -> None:
    loss = PointwiseCrossentropy()
    inputs = [tf.constant(value) for value in (LABELS, LOGITS, WEIGHTS)]
    expected = float(loss(*inputs))
    assert float(tf.function(loss.__call__)(*inputs)) == pytest.approx(expected, rel=1e-6)
    assert float(tf.function(loss.__call__, jit_compile=True)(*inputs)) == pytest.approx(expected, rel=1e-6)


def test_the_config_gives_the_same_loss() -> None:
    config = keras.saving.serialize_keras_object(PointwiseCrossentropy(name="clicks"))
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, PointwiseCrossentropy)
    assert again.name == "clicks"
