"""Bi-LSTM with target attention over its states."""

import keras

from atrank_tf.layers import SpaceAttention
from atrank_tf.models.baselines.bi_lstm import BiLSTM
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class BiLSTMAttention(BiLSTM):
    """Bi-LSTM with target attention (bilinear, in one space) from each candidate to the states of both LSTMs.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Baseline "Bi-LSTM+Attention" of ATRank (arXiv 1711.06632).
    """

    def make_layers(self) -> None:
        super().make_layers()
        self.target_attention = SpaceAttention(1, name="target_attention")

    def read(self, candidates: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        return self.target_attention(candidates, memory, mask)
