"""All workers as the chief is."""

import keras
import tensorflow as tf

from atrank_tf.training.average_weights import AverageWeights
from atrank_tf.training.workers import Workers


class FollowChief(keras.callbacks.Callback):
    """Sets all that the training depends on to what it is on the chief, before the first epoch and after each one.

    So only the chief has to read a backup. And what the chief holds at the end of an epoch is what all go on from:
    within an epoch, pending decay is applied by one worker when it reads a row and by another at the end of the step,
    which may differ in the last bit. Each worker has its own numbers for dropout. Training ends when the chief's does.

    The last of the callbacks.

    Args:
        workers: all of them.
        average: whose means are the chief's, too.
    """

    def __init__(self, workers: Workers, average: AverageWeights) -> None:
        super().__init__()
        self.workers = workers
        self.average = average

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._follow()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._follow()
        self.model.stop_training = bool(self.workers.chief_says(lambda: self.model.stop_training))

    def _follow(self) -> None:
        self.workers.follow_chief([*self.model.variables, *self.model.optimizer.variables, *self.average.means])
        other = tf.constant([2 * self.workers.index, 0], tf.int64)  # `layers.Dropout` does not see a seed's last bit.
        for variable in self.model.variables:
            if variable.name == "seed_generator_state":
                variable.assign(variable.value + tf.cast(other, variable.dtype))
