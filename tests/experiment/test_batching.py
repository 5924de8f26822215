"""Sizes of batches: impossible ones are refused."""

import pytest

from atrank_tf.experiment import Batching


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be positive. Received: batch_size=0"),
        ({"batch_tokens": 0}, "batch_tokens must be positive. Received: batch_tokens=0"),
        ({"evaluation_batch_size": -1}, "evaluation_batch_size must be positive"),
        ({"temperature": 0.5}, "temperature must be at least 1. Received: temperature=0.5"),
        ({"negatives": -2}, "negatives must not be negative. Received: negatives=-2"),
    ],
)
def test_impossible_sizes_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batching(**settings)
