"""Functional Keras models from a schema and a config."""

from atrank_tf.models.atrank import ATRank, ATRankConfig
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.timeline_atrank import TimelineATRank

MODELS: dict[str, type[Ranker]] = {"atrank": ATRank, "timeline_atrank": TimelineATRank}
"""Models by the name that an experiment file gives: `[model] name`. A new model is one file and one line here."""

__all__ = ["MODELS", "ATRank", "ATRankConfig", "Ranker", "RankerConfig", "TimelineATRank"]
