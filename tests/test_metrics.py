"""The training metric against counting every pair of every request."""

import itertools
import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.metrics import SUBSAMPLES, RequestAUC, request_auc_by_task

B, N = 13, 7
RNG = np.random.default_rng(0)


def _requests(seed: int, levels: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and weights; with `levels`, scores of so many values, and so many ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((B, N)) < rng.choice([0.0, 0.3, 0.6, 1.0], (B, 1))).astype("float32")
    scores = rng.integers(0, levels, (B, N)) if levels else rng.normal(size=(B, N))
    real = np.arange(N) < rng.integers(0, N + 1, (B, 1))
    return labels, scores.astype("float32"), real.astype("float32")


def _aucs(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> list[float]:
    """The AUC of each request that has one, pair by pair."""
    found = []
    for label, score, weight in zip(labels, scores, weights, strict=True):
        positives = score[(label == 1) & (weight != 0)]
        negatives = score[(label == 0) & (weight != 0)]
        pairs = [float(p > n) + 0.5 * float(p == n) for p, n in itertools.product(positives, negatives)]
        found += [np.mean(pairs)] if pairs else []
    return found


def _auc(labels: Any, scores: Any, weights: Any = None) -> float:
    metric = RequestAUC()
    metric.update_state(labels, scores, weights)
    return float(metric.result())


def test_requests_by_hand() -> None:
    assert _auc([[1, 0, 0]], [[2.0, 1.0, 3.0]]) == 0.5
    assert _auc([[1, 0, 1, 0]], [[4.0, 1.0, 2.0, 3.0]]) == 0.75
    # The mean over requests, not over pairs: 1 of 1 and 1 of 2.
    assert _auc([[1, 0, 0], [1, 0, 0]], [[2.0, 1.0, 9.0], [2.0, 1.0, 3.0]], [[1, 1, 0], [1, 1, 1]]) == 0.75


@pytest.mark.parametrize("levels", [0, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_metric_is_the_share_of_pairs_won_averaged_over_requests(seed: int, levels: int) -> None:
    labels, scores, weights = _requests(seed, levels)
    assert _auc(labels, scores, weights) == pytest.approx(np.mean(_aucs(labels, scores, weights)), rel=1e-6)
    everything = np.ones((B, N))
    assert _auc(labels, scores) == pytest.approx(np.mean(_aucs(labels, scores, everything)), rel=1e-6)


def test_ties_count_one_half() -> None:
    assert _auc([[1, 0, 0, 0]], [[5.0, 5.0, 5.0, 5.0]]) == 0.5
    assert _auc([[1, 0, 0]], [[5.0, 5.0, 1.0]]) == 0.75


def test_scores_that_differ_in_the_last_bit_are_no_tie() -> None:
    low = np.float32(1000.0)
    high = np.nextafter(low, np.float32(2000.0))
    assert _auc([[1, 0]], np.array([[high, low]])) == 1.0
    assert _auc([[1, 0]], np.array([[low, high]])) == 0.0


def test_padding_changes_nothing() -> None:
    labels, scores, weights = _requests(1)
    expected = _auc(labels, scores, weights)
    for garbage, label in itertools.product((1e6, -1e6), (0.0, 1.0)):
        dirty = np.where(weights > 0, labels, label), np.where(weights > 0, scores, garbage)
        assert _auc(*dirty, weights) == expected
    longer = [np.pad(value, ((0, 2), (0, 3))) for value in (labels, scores, weights)]
    assert _auc(*longer) == pytest.approx(expected, rel=1e-6)


def test_weights_other_than_zero_count_as_one() -> None:
    labels, scores, weights = _requests(2)
    other = weights * RNG.uniform(0.1, 9.0, weights.shape)
    assert _auc(labels, scores, other) == _auc(labels, scores, weights)


def test_requests_without_a_positive_or_without_a_negative_are_left_out() -> None:
    one = [[1, 0, 0]], [[2.0, 1.0, 3.0]]
    more = [*one[0], [0, 0, 0], [1, 1, 1]], [*one[1], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    assert _auc(*more) == _auc(*one) == 0.5
    # Nor does padding make a pair.
    assert _auc([[1, 0], [1, 0]], [[1.0, 2.0], [2.0, 1.0]], [[1, 0], [1, 1]]) == 1.0


def test_a_metric_that_saw_no_pair_is_nan() -> None:
    assert math.isnan(RequestAUC().result())
    assert math.isnan(_auc([[0, 0], [1, 1]], [[1.0, 2.0], [1.0, 2.0]]))


@pytest.mark.parametrize("shape", [(B, 0), (0, 0), (0, N)])
def test_a_batch_without_candidates_changes_nothing(shape: tuple[int, int]) -> None:
    metric = RequestAUC()
    metric.update_state([[1, 0, 0]], [[2.0, 1.0, 3.0]])
    for weights in (None, np.zeros(shape)):
        metric.update_state(np.zeros(shape), np.zeros(shape), weights)
    assert float(metric.result()) == 0.5


def test_several_updates_average_over_all_requests_and_reset_forgets_them() -> None:
    metric, aucs = RequestAUC(), []
    for seed in range(2, 7):
        labels, scores, weights = (value[: B - seed] for value in _requests(seed, levels=3))
        metric.update_state(labels, scores, weights)
        aucs += _aucs(labels, scores, weights)
        assert float(metric.result()) == pytest.approx(np.mean(aucs), rel=1e-6)
    metric.reset_state()
    assert math.isnan(metric.result())
    metric.update_state([[1, 0, 0]], [[2.0, 1.0, 3.0]])
    assert float(metric.result()) == 0.5


def test_requests_are_dealt_out_to_the_subsamples_in_turn() -> None:
    metric, aucs = RequestAUC(), []
    for seed in range(2, 22):
        labels, scores, weights = _requests(seed, levels=3)
        metric.update_state(labels, scores, weights)
        aucs += _aucs(labels, scores, weights)
    assert len(aucs) > 2 * SUBSAMPLES
    for sample in range(SUBSAMPLES):
        assert float(metric.totals[sample]) == pytest.approx(sum(aucs[sample::SUBSAMPLES]), rel=1e-6)
        assert float(metric.requests[sample]) == len(aucs[sample::SUBSAMPLES])


def test_half_precision_and_whole_numbers_may_come_in() -> None:
    labels, scores, weights = _requests(3, levels=5)
    expected = _auc(labels, scores, weights)
    assert _auc(labels.astype("int64"), tf.cast(scores, "bfloat16"), weights.astype("int32")) == expected


def test_graph_and_xla_agree_with_eager() -> None:
    inputs = [tf.constant(value) for value in _requests(4)]
    expected = _auc(*inputs)
    for compiled in (False, True):
        metric = RequestAUC()
        tf.function(metric.update_state, jit_compile=compiled)(*inputs)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


def test_the_config_gives_the_same_metric() -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(RequestAUC(name="clicks")))
    assert isinstance(again, RequestAUC)
    assert again.name == "clicks"


def test_each_task_has_a_metric_of_its_own_named_auc() -> None:
    metrics = request_auc_by_task(("next_purchase", "next_redemption"))
    assert list(metrics) == ["next_purchase", "next_redemption"]
    (first,), (second,) = metrics.values()
    assert first is not second
    assert (first.name, second.name) == ("auc", "auc")
