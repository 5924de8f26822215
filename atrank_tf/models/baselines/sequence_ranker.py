"""Base class of rankers that read the behaviors of all groups as one sequence."""

from collections.abc import Mapping

from atrank_tf.layers import TimeOrder
from atrank_tf.models.inputs import concat, side_by_side
from atrank_tf.models.ranker import Ranker
from atrank_tf.schema import FIRST_ROW
from atrank_tf.schema.inputs import history_name
from atrank_tf.types import Tensor


class SequenceRanker(Ranker):
    """Ranker whose `encode` gets the behaviors of all groups in time order, padding last, [B, T + 1, D].

    Behaviors of one timestamp are sorted by group, action and object, since their order in a log means nothing. The
    additional position is padding, so that a sequence is never empty; see `TimeOrder`.
    """

    def make_layers(self) -> None:
        self.time_order = TimeOrder(name="time_order")

    def embed_behaviors(self, inputs: Mapping[str, Tensor], objects: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        behaviors, mask = super().embed_behaviors(inputs, objects)
        groups = tuple(objects)
        content = concat([self.content(inputs, group) for group in groups])
        return self.time_order(behaviors, mask, side_by_side(inputs, groups, "timestamp"), content)

    def content(self, inputs: Mapping[str, Tensor], group: str) -> Tensor:
        """Returns a sort key of each behavior, unique among those of its timestamp, int64 [B, T_g]."""
        groups = sorted(self.schema.groups)  # By name, not as declared.
        actions = FIRST_ROW + max(len(each.actions) for each in self.schema.groups.values())
        rows = max(entity.rows for entity in self.schema.entities.values())
        first = groups.index(group) * actions * rows
        return first + inputs[history_name(group, "action")] * rows + inputs[history_name(group, "id")]
