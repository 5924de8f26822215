"""How much the loss of each task counts, learned."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="atrank_tf")
class TaskUncertainty(keras.layers.Layer):
    """Weighs losses by the uncertainty of their tasks, which is learned with the model.

    Rough sketch:
        out_t = exp(-s_t) loss_t + s_t / 2 where task t is present, else 0;   s_t = log variance, 0 at the start

    At its best s_t = log(2 loss_t): a task whose loss stays high counts less.

    Args:
        num_tasks: number of tasks.

    Call arguments:
        losses: float [tasks].
        present: bool [tasks], whether the batch has candidates of the task.

    Returns:
        float [tasks].

    Reference:
        Kendall, Gal and Cipolla, CVPR 2018 (arXiv 1705.07115), equation 10, of classification.
    """

    def __init__(self, num_tasks: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_tasks = num_tasks

    def build(self, *_: Any) -> None:
        self.log_variances = self.add_weight(name="log_variances", shape=(self.num_tasks,), initializer="zeros")

    def call(self, losses: Any, present: Any) -> Any:
        logs = ops.convert_to_tensor(self.log_variances)
        weighed = ops.exp(-logs) * losses + 0.5 * logs
        return ops.where(present, weighed, ops.zeros_like(weighed))

    def compute_output_shape(self, losses_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        return losses_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"num_tasks": self.num_tasks}
