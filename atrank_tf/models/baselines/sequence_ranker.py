"""Base class of rankers that read the behaviors of all groups as one sequence."""

from collections.abc import Mapping

from atrank_tf.layers import TimeOrder
from atrank_tf.models.inputs import behavior_columns, content
from atrank_tf.models.ranker import Ranker
from atrank_tf.types import Tensor


class SequenceRanker(Ranker):
    """Ranker whose `encode` gets the behaviors of all groups in time order, padding last, [B, T + 1, D].

    Behaviors of one timestamp are sorted by group, action and object, since their order in a log means nothing. The
    additional position is padding, so that a sequence is never empty; see `TimeOrder`.
    """

    def make_layers(self) -> None:
        self.time_order = TimeOrder(name="time_order")

    def embed_behaviors(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        behaviors, mask = super().embed_behaviors(inputs)
        columns = behavior_columns(inputs, tuple(self.schema.groups))
        return self.time_order(behaviors, mask, columns["timestamp"], content(self.schema, columns))
