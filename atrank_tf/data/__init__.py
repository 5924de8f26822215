"""Logs -> records -> tf.data."""

from atrank_tf.data.batching import input_signature
from atrank_tf.data.batching_settings import Batching
from atrank_tf.data.catalog import Catalog
from atrank_tf.data.dataset import evaluation_batches, requests, training_batches
from atrank_tf.data.epochs import TrainingBatches
from atrank_tf.data.popularity import PERIODS, Popularity, popularity
from atrank_tf.data.prepare import prepare
from atrank_tf.data.raw_values import RawValues
from atrank_tf.data.records import Records
from atrank_tf.data.target_counts import count_targets, positive_counts
from atrank_tf.data.targets import Part
from atrank_tf.data.timeline_dataset import timeline_batches

__all__ = [
    "PERIODS",
    "Batching",
    "Catalog",
    "Part",
    "Popularity",
    "RawValues",
    "Records",
    "TrainingBatches",
    "count_targets",
    "evaluation_batches",
    "input_signature",
    "popularity",
    "positive_counts",
    "prepare",
    "requests",
    "timeline_batches",
    "training_batches",
]
