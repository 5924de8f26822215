"""Functional Keras models from a schema and a config."""

from atrank_tf.models.atrank import ATRank, ATRankConfig
from atrank_tf.models.average_pooling import AveragePooling, AveragePoolingConfig
from atrank_tf.models.bi_lstm import BiLSTM, BiLSTMConfig
from atrank_tf.models.bi_lstm_attention import BiLSTMAttention
from atrank_tf.models.bpr_mf import BPRMF, BPRMFConfig
from atrank_tf.models.cnn import CNN, CNNConfig
from atrank_tf.models.din import DIN, DINConfig
from atrank_tf.models.network import Network, for_each
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.sasrec import SASRec, SASRecConfig
from atrank_tf.models.time_ordered_network import TimeOrderedNetwork
from atrank_tf.models.timeline_atrank import TimelineATRank

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
    "Network",
    "Ranker",
    "RankerConfig",
    "SASRec",
    "SASRecConfig",
    "TimeOrderedNetwork",
    "TimelineATRank",
    "for_each",
]
