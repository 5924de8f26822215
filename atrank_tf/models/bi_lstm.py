"""Bi-LSTM: the history read step by step, forward and backward."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
from keras import ops

from atrank_tf.layers import LastState
from atrank_tf.models.network import Network, for_each
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.time_ordered_network import TimeOrderedNetwork
from atrank_tf.schema import Schema


@dataclass(frozen=True, kw_only=True)
class BiLSTMConfig(RankerConfig):
    """The choices of Bi-LSTM: those of every ranker. Each direction has half of `width`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 2:
            raise ValueError(
                f"width must be even: each direction has half of it. Received: width={self.width} in [model]."
            )


@keras.saving.register_keras_serializable(package="atrank_tf")
class BiLSTM(Ranker):
    """Two LSTMs over the behaviors in the order of time; a user is their final states side by side, the same for all
    candidates: the forward one's after the newest behavior, the backward one's after the oldest.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Baseline "Bi-LSTM" of ATRank (arXiv 1711.06632), after Zhang et al. (AAAI 2014). The authors' code has `width`
        units in each direction and a linear map behind them.
    """

    Config: ClassVar[type[RankerConfig]] = BiLSTMConfig
    Network: ClassVar[type[Network]] = TimeOrderedNetwork

    @staticmethod
    def make_encoder(config: BiLSTMConfig, schema: Schema) -> Any:
        return bi_lstm(config)

    @staticmethod
    def make_reader(config: BiLSTMConfig) -> Any:
        half = config.width // 2
        last = LastState(name="last_state")

        def read(candidates: Any, memory: Any, mask: Any) -> Any:
            forward, backward = last(memory[..., :half], mask), memory[:, 0, half:]
            return for_each(ops.concatenate([forward, backward], axis=-1), candidates)

        return read


def bi_lstm(config: BiLSTMConfig) -> Any:
    """Returns a function (behaviors [B, T, D], mask [B, T]) -> states of both directions, [B, T, D], T above 0."""
    lstm = keras.layers.LSTM(config.width // 2, return_sequences=True, name="lstm")
    layer = keras.layers.Bidirectional(lstm, name="bi_lstm")

    def encode(behaviors: Any, mask: Any) -> Any:
        # cuDNN takes no sequence without any real place. What such a one leaves is set to 0 afterwards, as all padding.
        first = ops.ones_like(mask[:, :1])
        return layer(behaviors, mask=ops.concatenate([first, mask[:, 1:]], axis=1))

    return encode
