"""Ranking models: ATRank, the baselines that it is compared with, and the base class of a new model."""

from atrank_tf.models.atrank import ATRank
from atrank_tf.models.baselines.average_pooling import AveragePooling
from atrank_tf.models.baselines.bi_lstm import BiLSTM
from atrank_tf.models.baselines.bi_lstm_attention import BiLSTMAttention
from atrank_tf.models.baselines.bpr_mf import BPRMF
from atrank_tf.models.baselines.cnn import CNN
from atrank_tf.models.baselines.din import DIN
from atrank_tf.models.baselines.sasrec import SASRec
from atrank_tf.models.baselines.sequence_ranker import SequenceRanker
from atrank_tf.models.ranker import Ranker, broadcast_to_candidates
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
"""Models by the name that an experiment file gives: `[model] name`. A new model is one file, one line here,
and one in `experiment.MODEL_CONFIGS`."""

__all__ = [
    "BPRMF",
    "CNN",
    "DIN",
    "MODELS",
    "ATRank",
    "AveragePooling",
    "BiLSTM",
    "BiLSTMAttention",
    "Ranker",
    "SASRec",
    "SequenceRanker",
    "TimelineATRank",
    "broadcast_to_candidates",
]
