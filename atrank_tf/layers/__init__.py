"""Keras layers, one idea per file: tensors, sizes and names in, tensors out."""

from atrank_tf.layers.activation_unit import ActivationUnit
from atrank_tf.layers.behavior_embedding import BehaviorEmbedding
from atrank_tf.layers.catalog_lookup import CatalogLookup
from atrank_tf.layers.causal_mask import CausalMask
from atrank_tf.layers.dcn_ranking import DCNRanking
from atrank_tf.layers.dnn_ranking import DNNRanking
from atrank_tf.layers.dot_ranking import DotRanking
from atrank_tf.layers.dropout import Dropout
from atrank_tf.layers.expert_gate import ExpertGate
from atrank_tf.layers.experts import Experts
from atrank_tf.layers.feed_forward import FeedForward
from atrank_tf.layers.fm_ranking import FMRanking
from atrank_tf.layers.group_projection import GroupProjection
from atrank_tf.layers.id_dropout import IdDropout
from atrank_tf.layers.last_state import LastState
from atrank_tf.layers.masks import hidden
from atrank_tf.layers.max_pooling import MaxPooling
from atrank_tf.layers.mean_pooling import MeanPooling
from atrank_tf.layers.packing import Everything, Packing
from atrank_tf.layers.pnn_ranking import PNNRanking
from atrank_tf.layers.popularity_ranking import PopularityRanking
from atrank_tf.layers.position_embedding import PositionEmbedding
from atrank_tf.layers.repeat_ranking import RepeatRanking
from atrank_tf.layers.self_attention import SelfAttention
from atrank_tf.layers.space_attention import SpaceAttention
from atrank_tf.layers.sparse_embedding import SparseEmbedding
from atrank_tf.layers.standardize import Standardize
from atrank_tf.layers.take import take
from atrank_tf.layers.target_attention import Asked, TargetAttention
from atrank_tf.layers.time_bias import TimeBias
from atrank_tf.layers.time_buckets import TimeBuckets
from atrank_tf.layers.time_order import TimeOrder
from atrank_tf.layers.wide_ranking import WideRanking
from atrank_tf.layers.window_convolution import WindowConvolution

__all__ = [
    "ActivationUnit",
    "Asked",
    "BehaviorEmbedding",
    "CatalogLookup",
    "CausalMask",
    "DCNRanking",
    "DNNRanking",
    "DotRanking",
    "Dropout",
    "Everything",
    "ExpertGate",
    "Experts",
    "FMRanking",
    "FeedForward",
    "GroupProjection",
    "IdDropout",
    "LastState",
    "MaxPooling",
    "MeanPooling",
    "PNNRanking",
    "Packing",
    "PopularityRanking",
    "PositionEmbedding",
    "RepeatRanking",
    "SelfAttention",
    "SpaceAttention",
    "SparseEmbedding",
    "Standardize",
    "TargetAttention",
    "TimeBias",
    "TimeBuckets",
    "TimeOrder",
    "WideRanking",
    "WindowConvolution",
    "hidden",
    "take",
]
