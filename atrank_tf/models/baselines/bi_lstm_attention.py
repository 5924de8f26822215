"""Bi-LSTM and attention: each candidate chooses among the states of the history."""

from typing import Any

import keras

from atrank_tf.layers import SpaceAttention
from atrank_tf.models.baselines.bi_lstm import BiLSTM


@keras.saving.register_keras_serializable(package="atrank_tf")
class BiLSTMAttention(BiLSTM):
    """As `BiLSTM`, but each candidate reads the states of all behaviors by vanilla attention, bilinear, in one space.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Baseline "Bi-LSTM+Attention" of ATRank (arXiv 1711.06632).
    """

    def make_layers(self) -> None:
        super().make_layers()
        self.target_attention = SpaceAttention(1, name="target_attention")

    def read(self, candidates: Any, memory: Any, mask: Any) -> Any:
        return self.target_attention(candidates, memory, mask)
