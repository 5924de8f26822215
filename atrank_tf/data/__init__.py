"""Reads records and makes batches of them with `tf.data`."""

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.catalog_requests import CatalogRequests, catalog_requests
from atrank_tf.data.chunk_reading import TrainingBatches, count_targets
from atrank_tf.data.co_occurrence import co_occurrence
from atrank_tf.data.id_maps import IdMaps
from atrank_tf.data.known_from import known_from
from atrank_tf.data.popularity import (
    PERIODS,
    Events,
    Popularity,
    chosen,
    counted_actions,
    done,
    popularity,
    popularity_of_values,
    positive_counts,
    shown,
)
from atrank_tf.data.records import Records
from atrank_tf.data.request_batching import evaluation_batches, requests, training_batches
from atrank_tf.data.request_hours import request_hours
from atrank_tf.data.shown_values import ShownValues, shown_values
from atrank_tf.data.targets import Part
from atrank_tf.data.timeline_batching import timeline_batches

__all__ = [
    "PERIODS",
    "Catalog",
    "CatalogRequests",
    "Events",
    "IdMaps",
    "Part",
    "Popularity",
    "Records",
    "ShownValues",
    "TrainingBatches",
    "catalog_requests",
    "chosen",
    "co_occurrence",
    "count_targets",
    "counted_actions",
    "done",
    "evaluation_batches",
    "known_from",
    "popularity",
    "popularity_of_values",
    "positive_counts",
    "request_hours",
    "requests",
    "shown",
    "shown_values",
    "timeline_batches",
    "training_batches",
]
