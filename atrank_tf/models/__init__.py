"""Ranking models: ATRank, the baselines that it is compared with, and the base class of a new model."""

from atrank_tf.models.atrank import ATRank, ATRankConfig
from atrank_tf.models.baselines.average_pooling import AveragePooling, AveragePoolingConfig
from atrank_tf.models.baselines.bi_lstm import BiLSTM, BiLSTMConfig
from atrank_tf.models.baselines.bi_lstm_attention import BiLSTMAttention
from atrank_tf.models.baselines.bpr_mf import BPRMF, BPRMFConfig
from atrank_tf.models.baselines.cnn import CNN, CNNConfig
from atrank_tf.models.baselines.din import DIN, DINConfig
from atrank_tf.models.baselines.sasrec import SASRec, SASRecConfig
from atrank_tf.models.baselines.sequence_ranker import SequenceRanker
from atrank_tf.models.ranker import Ranker, broadcast_to_candidates
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.timeline_atrank import TimelineATRank, TimelineATRankConfig

MODELS: dict[str, type[Ranker]] = {
    "atrank": ATRank,
    "timeline_atrank": TimelineATRank,
    "bpr_mf": BPRMF,
    "average_pooling": AveragePooling,
    "cnn": CNN,
    "bi_lstm": BiLSTM,
    "bi_lstm_attention": BiLSTMAttention,
    "din": DIN,
    "sasrec": SASRec,
}
"""Models by the name that an experiment file gives: `[model] name`. A new model is one file and one line here."""

__all__ = [
    "BPRMF",
    "CNN",
    "DIN",
    "MODELS",
    "ATRank",
    "ATRankConfig",
    "AveragePooling",
    "AveragePoolingConfig",
    "BPRMFConfig",
    "BiLSTM",
    "BiLSTMAttention",
    "BiLSTMConfig",
    "CNNConfig",
    "DINConfig",
    "Ranker",
    "RankerConfig",
    "SASRec",
    "SASRecConfig",
    "SequenceRanker",
    "TimelineATRank",
    "TimelineATRankConfig",
    "broadcast_to_candidates",
]
