"""Average pooling: the mean of what the user did."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras

from atrank_tf.layers import MeanPooling
from atrank_tf.models.network import for_each
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import Schema


@dataclass(frozen=True, kw_only=True)
class AveragePoolingConfig(RankerConfig):
    """The choices of average pooling: those of every ranker."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class AveragePooling(Ranker):
    """A user is the mean of the codes of their behaviors, the same for all candidates.

    With the ranking network "dnn" it is the base model that others are compared with (YouTube's, DIN's).

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Covington et al., RecSys 2016; the base model of DIN (arXiv 1706.06978), section 4.2.
    """

    Config: ClassVar[type[RankerConfig]] = AveragePoolingConfig

    @staticmethod
    def make_encoder(config: AveragePoolingConfig, schema: Schema) -> Any:
        return lambda behaviors, mask: behaviors

    @staticmethod
    def make_reader(config: AveragePoolingConfig) -> Any:
        pooling = MeanPooling(name="history_pooling")
        return lambda candidates, memory, mask: for_each(pooling(memory, mask), candidates)
