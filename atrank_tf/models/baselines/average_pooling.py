"""Average pooling: the mean of what the user did."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras

from atrank_tf.layers import MeanPooling
from atrank_tf.models.ranker import Ranker, broadcast_to_candidates
from atrank_tf.models.ranker_config import RankerConfig


@dataclass(frozen=True, kw_only=True)
class AveragePoolingConfig(RankerConfig):
    """The choices of average pooling: those of every ranker."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class AveragePooling(Ranker):
    """A user is the mean of their behaviors, the same for all candidates.

    With the ranking head "dnn" it is the base model that others are compared with (YouTube's, DIN's).

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Covington et al., RecSys 2016; the base model of DIN (arXiv 1706.06978), section 4.2.
    """

    Config: ClassVar[type[RankerConfig]] = AveragePoolingConfig

    def make_layers(self) -> None:
        self.history_pooling = MeanPooling(name="history_pooling")

    def read(self, candidates: Any, memory: Any, mask: Any) -> Any:
        return broadcast_to_candidates(self.history_pooling(memory, mask), candidates)
