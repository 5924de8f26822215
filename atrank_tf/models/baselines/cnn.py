"""CNN with max pooling over the behaviors in time order."""

from dataclasses import dataclass
from typing import ClassVar

import keras

from atrank_tf.layers import MaxPooling, WindowConvolution
from atrank_tf.models.baselines.sequence_ranker import SequenceRanker
from atrank_tf.models.ranker import broadcast_to_candidates
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.types import Tensor


@dataclass(frozen=True, kw_only=True)
class CNNConfig(RankerConfig):
    """Config of `CNN`: that of every ranker, and the number of windows.

    Args:
        windows: size of the widest window. Windows of 1, 2, ... behaviors have equal shares of the units, so it must
            divide `hidden_dim`.
    """

    windows: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.windows <= 0 or self.hidden_dim % self.windows:
            raise ValueError(
                f"windows must be positive and divide hidden_dim. Received: windows={self.windows}, "
                f"hidden_dim={self.hidden_dim} in [model]."
            )


@keras.saving.register_keras_serializable(package="atrank_tf")
class CNN(SequenceRanker):
    """Convolutions over the behaviors in time order; their maximum over time is the user vector of all candidates.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Baseline "CNN+Pooling" of ATRank (arXiv 1711.06632). The authors' code has windows of 1 to 10 with 32 units each
        and a linear map behind the pooling.
    """

    Config: ClassVar[type[RankerConfig]] = CNNConfig

    def make_layers(self) -> None:
        super().make_layers()
        self.window_convolution = WindowConvolution(self.config.windows, name="window_convolution")
        self.history_pooling = MaxPooling(name="history_pooling")

    def encode(self, behaviors: Tensor, mask: Tensor) -> Tensor:
        return self.window_convolution(behaviors, mask)

    def read(self, candidates: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        return broadcast_to_candidates(self.history_pooling(memory, mask), candidates)
