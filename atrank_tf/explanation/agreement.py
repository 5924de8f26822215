"""Whether attention ranks behaviors as their removal does."""

import numpy as np

from atrank_tf.explanation.attention import Explanation
from atrank_tf.explanation.occlusion import Occlusion


def attention_agreement(explanation: Explanation, occlusion: Occlusion) -> np.ndarray:
    """Returns, for each candidate, Spearman's rank correlation of two orders of the behaviors, float64 [N].

    One order is by the weight with which the candidate reads a behavior, mean over the spaces; the other by how much
    the score changes without it, in either direction. NaN where an order says nothing: fewer than two behaviors, or all
    equal; and where the model has no such attention.
    """
    count = len(explanation.candidates)
    if not len(explanation.target_attention):
        return np.full(count, np.nan)
    read = explanation.target_attention.mean(axis=0)
    return np.array([spearman(read[n], np.abs(occlusion.behaviors[n])) for n in range(count)])


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the rank correlation of two series, with mean ranks for ties; NaN where one of them is constant.

    Reference:
        Spearman (1904); the correlation of Pearson, of ranks.
    """
    centered = np.stack([ranks(first), ranks(second)]) - (len(first) - 1) / 2
    norm = np.sqrt((centered**2).sum(axis=1)).prod()
    return float(centered.prod(axis=0).sum() / norm) if norm else float("nan")


def ranks(values: np.ndarray) -> np.ndarray:
    """Returns 0 for the smallest, up to M - 1; equal values share the mean of their ranks. float64 [M]."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[group]
