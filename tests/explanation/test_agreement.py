"""Spearman's correlation by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from atrank_tf.explanation import attention_agreement, spearman


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 1000], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        # 1 - 6 * sum(d^2) / (n (n^2 - 1)) with d = (0, 1, 1, 0): 1 - 12 / 60.
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        # Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5).
        ([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / np.sqrt(4.5 * 5)),
    ],
)
def test_correlation_of_ranks(first: Any, second: Any, expected: float) -> None:
    assert spearman(np.array(first, float), np.array(second, float)) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0]])
def test_an_order_that_says_nothing_agrees_with_nothing(values: list[float]) -> None:
    assert np.isnan(spearman(np.array(values), np.arange(len(values))))


def test_attention_is_compared_with_changes_in_either_direction() -> None:
    weights = np.array([[[0.1, 0.2, 0.7]], [[0.3, 0.1, 0.6]]])  # Means 0.2, 0.15, 0.65.
    explanation: Any = SimpleNamespace(target_attention=weights, candidates=("a",))
    for behaviors, expected in (([0.2, -0.1, -0.9], 1.0), ([0.2, 0.1, 0.0], -0.5)):
        occlusion: Any = SimpleNamespace(behaviors=np.array([behaviors]))
        assert attention_agreement(explanation, occlusion) == pytest.approx([expected])
    none: Any = SimpleNamespace(target_attention=np.zeros((0, 2, 3)), candidates=("a", "b"))
    np.testing.assert_array_equal(attention_agreement(none, occlusion), [np.nan, np.nan])
