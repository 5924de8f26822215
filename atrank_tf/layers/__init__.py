"""Keras layers, one idea per file: tensors, sizes and names in, tensors out."""

from atrank_tf.layers.behavior_embedding import BehaviorEmbedding
from atrank_tf.layers.catalog_lookup import CatalogLookup
from atrank_tf.layers.causal_mask import CausalMask
from atrank_tf.layers.dnn_ranking import DNNRanking
from atrank_tf.layers.dot_ranking import DotRanking
from atrank_tf.layers.dropout import Dropout
from atrank_tf.layers.expert_gate import ExpertGate
from atrank_tf.layers.experts import Experts
from atrank_tf.layers.feed_forward import FeedForward
from atrank_tf.layers.group_projection import GroupProjection
from atrank_tf.layers.masks import masked_softmax
from atrank_tf.layers.mean_pooling import MeanPooling
from atrank_tf.layers.self_attention import SelfAttention
from atrank_tf.layers.space_attention import SpaceAttention
from atrank_tf.layers.sparse_embedding import SparseEmbedding
from atrank_tf.layers.standardize import Standardize
from atrank_tf.layers.take import take
from atrank_tf.layers.target_attention import TargetAttention
from atrank_tf.layers.task_uncertainty import TaskUncertainty
from atrank_tf.layers.time_bias import TimeBias
from atrank_tf.layers.time_buckets import TimeBuckets

__all__ = [
    "BehaviorEmbedding",
    "CatalogLookup",
    "CausalMask",
    "DNNRanking",
    "DotRanking",
    "Dropout",
    "ExpertGate",
    "Experts",
    "FeedForward",
    "GroupProjection",
    "MeanPooling",
    "SelfAttention",
    "SpaceAttention",
    "SparseEmbedding",
    "Standardize",
    "TargetAttention",
    "TaskUncertainty",
    "TimeBias",
    "TimeBuckets",
    "masked_softmax",
    "take",
]
