"""A network whose encoder is a loop over the behaviors."""

from typing import Any

from atrank_tf.models.time_ordered_network import TimeOrderedNetwork


class RecurrentNetwork(TimeOrderedNetwork):
    """As `TimeOrderedNetwork`, but XLA does not compile the encoder: a loop has no gradient across its edge."""

    def _encoded(self, behaviors: Any, mask: Any) -> Any:
        return self._encoder(behaviors, mask)
