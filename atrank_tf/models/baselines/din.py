"""DIN: sum of the behaviors, weighted for each candidate by an activation unit."""

from typing import ClassVar

import keras

from atrank_tf.experiment import DINConfig, RankerConfig
from atrank_tf.layers import ActivationUnit
from atrank_tf.models.ranker import Ranker
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class DIN(Ranker):
    """Deep interest network: the user vector is a sum of behaviors, weighted for each candidate by an activation unit.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Zhou et al., KDD 2018 (arXiv 1706.06978), without batch normalization: see `ActivationUnit`. It ranks by "dnn".
    """

    Config: ClassVar[type[RankerConfig]] = DINConfig

    def make_layers(self) -> None:
        self.activation_unit = ActivationUnit(self.config.attention_units, name="activation_unit")

    def read(self, candidates: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        return self.activation_unit(candidates, memory, mask)
