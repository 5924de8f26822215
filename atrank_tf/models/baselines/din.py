"""DIN: each candidate activates the behaviors that are like it."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras

from atrank_tf.layers import ActivationUnit
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig


@dataclass(frozen=True, kw_only=True)
class DINConfig(RankerConfig):
    """The choices of DIN beside those of every ranker.

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
    """Deep interest network: behaviors as they are, summed by weights that an activation unit gives them for each
    candidate.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Zhou et al., KDD 2018 (arXiv 1706.06978), without batch normalization: see `ActivationUnit`. It ranks by "dnn".
    """

    Config: ClassVar[type[RankerConfig]] = DINConfig

    def make_layers(self) -> None:
        self.activation_unit = ActivationUnit(self.config.attention_units, name="activation_unit")

    def read(self, candidates: Any, memory: Any, mask: Any) -> Any:
        return self.activation_unit(candidates, memory, mask)
