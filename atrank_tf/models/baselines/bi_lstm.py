"""Bi-LSTM over the behaviors in time order."""

from typing import ClassVar

import keras
from keras import ops

from atrank_tf.experiment import BiLSTMConfig, RankerConfig
from atrank_tf.layers import LastState
from atrank_tf.models.baselines.sequence_ranker import SequenceRanker
from atrank_tf.models.ranker import broadcast_to_candidates
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class BiLSTM(SequenceRanker):
    """Bi-LSTM over the behaviors in time order; its final states are the user vector, the same for all candidates.

    The final states are the forward one after the newest behavior and the backward one after the oldest, concatenated.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Baseline "Bi-LSTM" of ATRank (arXiv 1711.06632), after Zhang et al. (AAAI 2014). The authors' code has
        `hidden_dim` units in each direction and a linear map behind them.
    """

    Config: ClassVar[type[RankerConfig]] = BiLSTMConfig

    def make_layers(self) -> None:
        super().make_layers()
        lstm = keras.layers.LSTM(self.config.hidden_dim // 2, return_sequences=True, name="lstm")
        self.bi_lstm = keras.layers.Bidirectional(lstm, name="bi_lstm")
        self.last_state = LastState(name="last_state")

    def encode(self, behaviors: Tensor, mask: Tensor) -> Tensor:
        # cuDNN takes no sequence without any real place. What such a one leaves is set to 0 afterwards, as all padding.
        first = ops.ones_like(mask[:, :1])
        return self.bi_lstm(behaviors, mask=ops.concatenate([first, mask[:, 1:]], axis=1))

    def read(self, candidates: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        half = self.config.hidden_dim // 2
        forward, backward = self.last_state(memory[..., :half], mask), memory[:, 0, half:]
        return broadcast_to_candidates(ops.concatenate([forward, backward], axis=-1), candidates)
