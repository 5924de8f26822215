"""Bi-LSTM and attention: each candidate chooses among the states of the history."""

from typing import Any, ClassVar

import keras

from atrank_tf.layers import SpaceAttention
from atrank_tf.models.bi_lstm import BiLSTMConfig, bi_lstm
from atrank_tf.models.network import Network
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.time_ordered_network import TimeOrderedNetwork
from atrank_tf.schema import Schema


@keras.saving.register_keras_serializable(package="atrank_tf")
class BiLSTMAttention(Ranker):
    """As `BiLSTM`, but each candidate reads the states of all behaviors by vanilla attention, bilinear, in one space.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Baseline "Bi-LSTM+Attention" of ATRank (arXiv 1711.06632).
    """

    Config: ClassVar[type[RankerConfig]] = BiLSTMConfig
    Network: ClassVar[type[Network]] = TimeOrderedNetwork

    @staticmethod
    def make_encoder(config: BiLSTMConfig, schema: Schema) -> Any:
        return bi_lstm(config)

    @staticmethod
    def make_reader(config: BiLSTMConfig) -> Any:
        return SpaceAttention(1, name="target_attention")
