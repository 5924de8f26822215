"""CNN with max pooling over the behaviors in time order."""

from typing import ClassVar

import keras

from atrank_tf.experiment import CNNConfig, RankerConfig
from atrank_tf.layers import MaxPooling, WindowConvolution
from atrank_tf.models.baselines.sequence_ranker import SequenceRanker
from atrank_tf.models.ranker import broadcast_to_candidates
from atrank_tf.types import Tensor


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
