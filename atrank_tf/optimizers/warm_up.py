"""A learning rate that begins small."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies a learning rate by 1/steps, 2/steps, ..., 1 in the first steps, and leaves it alone after.

    Adam's first steps are of full size whatever the gradient is, and from them attention may not come back.

    Args:
        learning_rate: float or schedule.
        steps: how many steps the rise takes, at least 1.

    Reference:
        Goyal et al. (arXiv 1706.02677), section 2.2; for attention Vaswani et al. (arXiv 1706.03762), section 5.3.
    """

    def __init__(self, learning_rate: Any, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1. Received: steps={steps}.")
        self.learning_rate = learning_rate
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        whole = self.learning_rate(step) if callable(self.learning_rate) else self.learning_rate
        return whole * ops.minimum(1.0, (ops.cast(step, "float32") + 1.0) / self.steps)

    def get_config(self) -> dict[str, Any]:
        rate = self.learning_rate
        return {
            "learning_rate": keras.saving.serialize_keras_object(rate) if callable(rate) else rate,
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        return cls(**config | {"learning_rate": keras.saving.deserialize_keras_object(config["learning_rate"])})
