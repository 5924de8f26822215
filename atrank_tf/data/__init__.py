"""Records -> tf.data."""

from atrank_tf.data.batching_settings import Batching
from atrank_tf.data.catalog import Catalog
from atrank_tf.data.chunk_reading import count_targets, positive_counts
from atrank_tf.data.epochs import TrainingBatches
from atrank_tf.data.id_maps import IdMaps
from atrank_tf.data.popularity import PERIODS, Popularity, popularity
from atrank_tf.data.records import Records
from atrank_tf.data.request_batches import evaluation_batches, requests, training_batches
from atrank_tf.data.targets import Part
from atrank_tf.data.timeline_batches import timeline_batches

__all__ = [
    "PERIODS",
    "Batching",
    "Catalog",
    "IdMaps",
    "Part",
    "Popularity",
    "Records",
    "TrainingBatches",
    "count_targets",
    "evaluation_batches",
    "popularity",
    "positive_counts",
    "requests",
    "timeline_batches",
    "training_batches",
]
