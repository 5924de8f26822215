"""Evaluates rankings: metrics with standard errors, baselines, and paired tests of two models."""

from atrank_tf.evaluation.metrics import METRICS, Estimate, evaluate
from atrank_tf.evaluation.protocol import score_baselines, score_model
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.evaluation.significance import PairedDifference, paired_difference, paired_differences
from atrank_tf.evaluation.truth import score_truth

__all__ = [
    "METRICS",
    "Estimate",
    "PairedDifference",
    "ScoredRequests",
    "evaluate",
    "paired_difference",
    "paired_differences",
    "score_baselines",
    "score_model",
    "score_truth",
]
