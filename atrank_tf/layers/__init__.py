"""Keras layers, which know no files and no schema."""

from atrank_tf.layers.attention.activation_unit import ActivationUnit
from atrank_tf.layers.attention.causal_blocks import CausalBlocks
from atrank_tf.layers.attention.masks import additive_mask, zero_padding
from atrank_tf.layers.attention.self_attention import SelfAttention
from atrank_tf.layers.attention.space_attention import SpaceAttention
from atrank_tf.layers.attention.target_attention import CandidateQueries, TargetAttention
from atrank_tf.layers.dense import FeedForward, GroupProjection
from atrank_tf.layers.dropout import Dropout, IdDropout
from atrank_tf.layers.embedding.behavior_embedding import BehaviorEmbedding
from atrank_tf.layers.embedding.calendar_embedding import CalendarEmbedding
from atrank_tf.layers.embedding.catalog_lookup import CatalogLookup
from atrank_tf.layers.embedding.hashed_rows import HashedRows
from atrank_tf.layers.embedding.point_in_time import PointInTime
from atrank_tf.layers.embedding.position_embedding import PositionEmbedding
from atrank_tf.layers.embedding.recent_popularity import RecentPopularity
from atrank_tf.layers.embedding.sparse_embedding import SparseEmbedding
from atrank_tf.layers.embedding.standardize import CountNormalization, Standardize
from atrank_tf.layers.embedding.usual_values import UsualValues
from atrank_tf.layers.heads.dnn_head import DNNHead
from atrank_tf.layers.heads.dot_head import DotHead
from atrank_tf.layers.heads.ranking_head import RankingHead
from atrank_tf.layers.list_comparison import ListComparison, ListDistance
from atrank_tf.layers.packing import NoPadding, Packing, take
from atrank_tf.layers.pooling import LastState, MaxPooling, MeanPooling
from atrank_tf.layers.time import TimeBias, TimeBuckets
from atrank_tf.layers.time_order import TimeOrder, time_order
from atrank_tf.layers.window_convolution import WindowConvolution

__all__ = [
    "ActivationUnit",
    "BehaviorEmbedding",
    "CalendarEmbedding",
    "CandidateQueries",
    "CatalogLookup",
    "CausalBlocks",
    "CountNormalization",
    "DNNHead",
    "DotHead",
    "Dropout",
    "FeedForward",
    "GroupProjection",
    "HashedRows",
    "IdDropout",
    "LastState",
    "ListComparison",
    "ListDistance",
    "MaxPooling",
    "MeanPooling",
    "NoPadding",
    "Packing",
    "PointInTime",
    "PositionEmbedding",
    "RankingHead",
    "RecentPopularity",
    "SelfAttention",
    "SpaceAttention",
    "SparseEmbedding",
    "Standardize",
    "TargetAttention",
    "TimeBias",
    "TimeBuckets",
    "TimeOrder",
    "UsualValues",
    "WindowConvolution",
    "additive_mask",
    "take",
    "time_order",
    "zero_padding",
]
