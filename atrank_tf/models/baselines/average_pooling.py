"""Average pooling: the user vector is the mean of the behaviors."""

from typing import ClassVar

import keras

from atrank_tf.experiment import AveragePoolingConfig, RankerConfig
from atrank_tf.layers import MeanPooling
from atrank_tf.models.ranker import Ranker, broadcast_to_candidates
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class AveragePooling(Ranker):
    """Average pooling: a user vector is the mean of the behaviors, the same for all candidates.

    With the ranking head "dnn" it is the base model that others are compared with (YouTube's, DIN's).

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Covington et al., RecSys 2016; the base model of DIN (arXiv 1706.06978), section 4.2.
    """

    Config: ClassVar[type[RankerConfig]] = AveragePoolingConfig

    def make_layers(self) -> None:
        self.history_pooling = MeanPooling(name="history_pooling")

    def read(self, candidates: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        return broadcast_to_candidates(self.history_pooling(memory, mask), candidates)
