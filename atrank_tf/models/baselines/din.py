"""DIN: sum of the behaviors, weighted for each candidate by an activation unit."""

from dataclasses import dataclass
from typing import ClassVar

import keras

from atrank_tf.layers import ActivationUnit
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.types import Tensor


@dataclass(frozen=True, kw_only=True)
class DINConfig(RankerConfig):
    """Config of `DIN`: that of every ranker, and the units of its activation unit.

    Args:
        attention_units: units of the hidden layers of the activation unit.
    """

    attention_units: tuple[int, ...] = (80, 40)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attention_units or any(size <= 0 for size in self.attention_units):
            raise ValueError(
                f"attention_units must be positive. Received: attention_units={list(self.attention_units)} in [model]."
            )


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
