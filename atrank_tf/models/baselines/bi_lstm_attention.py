"""Bi-LSTM and attention: each candidate chooses among the states of the history."""

from typing import Any, ClassVar

import keras

from atrank_tf.layers import SpaceAttention
from atrank_tf.models.baselines.bi_lstm import BiLSTMConfig, make_bi_lstm, mask_for_cudnn
from atrank_tf.models.baselines.sequence_ranker import SequenceRanker
from atrank_tf.models.ranker_config import RankerConfig


@keras.saving.register_keras_serializable(package="atrank_tf")
class BiLSTMAttention(SequenceRanker):
    """As `BiLSTM`, but each candidate reads the states of all behaviors by vanilla attention, bilinear, in one space.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Baseline "Bi-LSTM+Attention" of ATRank (arXiv 1711.06632).
    """

    Config: ClassVar[type[RankerConfig]] = BiLSTMConfig

    def make_layers(self) -> None:
        super().make_layers()
        self.bi_lstm = make_bi_lstm(self.config)
        self.target_attention = SpaceAttention(1, name="target_attention")

    def encode(self, behaviors: Any, mask: Any) -> Any:
        return self.bi_lstm(behaviors, mask=mask_for_cudnn(mask))

    def read(self, candidates: Any, memory: Any, mask: Any) -> Any:
        return self.target_attention(candidates, memory, mask)
