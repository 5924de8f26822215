"""Evaluates rankings: metrics with standard errors, baselines, and paired tests of two models."""

from atrank_tf.evaluation.base_rate import are_probabilities, score_base_rate, trained_with
from atrank_tf.evaluation.catalog_ranking import rank_catalog, rank_catalog_by_rules, tasks_of_lists
from atrank_tf.evaluation.catalog_ranks import CATALOG_METRICS, CatalogRanks, evaluate_ranks
from atrank_tf.evaluation.lightgbm_yardstick import LIGHTGBM, LightGBM
from atrank_tf.evaluation.metrics import METRICS, Estimate, evaluate
from atrank_tf.evaluation.metrics_table import metrics_table
from atrank_tf.evaluation.page import TaskFindings, page
from atrank_tf.evaluation.protocol import score_baselines, score_model, score_requests
from atrank_tf.evaluation.request_measures import RequestMeasures
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.evaluation.scores_file import AskedRequests, read_scores, write_scores
from atrank_tf.evaluation.significance import (
    PairedDifference,
    paired_difference,
    paired_differences,
    paired_rank_difference,
    paired_rank_differences,
)
from atrank_tf.evaluation.truth import score_truth

__all__ = [
    "CATALOG_METRICS",
    "LIGHTGBM",
    "METRICS",
    "AskedRequests",
    "CatalogRanks",
    "Estimate",
    "LightGBM",
    "PairedDifference",
    "RequestMeasures",
    "ScoredRequests",
    "TaskFindings",
    "are_probabilities",
    "evaluate",
    "evaluate_ranks",
    "metrics_table",
    "page",
    "paired_difference",
    "paired_differences",
    "paired_rank_difference",
    "paired_rank_differences",
    "rank_catalog",
    "rank_catalog_by_rules",
    "read_scores",
    "score_base_rate",
    "score_baselines",
    "score_model",
    "score_requests",
    "score_truth",
    "tasks_of_lists",
    "trained_with",
    "write_scores",
]
