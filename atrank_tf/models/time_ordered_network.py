"""The layers of a ranker that reads behaviors as one sequence, and how they are called."""

from collections.abc import Mapping
from typing import Any

from atrank_tf.layers import TimeOrder
from atrank_tf.models.inputs import join, side_by_side
from atrank_tf.models.network import Network
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import FIRST_ROW, Schema


class TimeOrderedNetwork(Network):
    """As `Network`, but the encoder is given the behaviors of all groups in the order of time, padding last.

    Behaviors of one moment stand by group, action and object: an order in a log says nothing about them.

    Args:
        schema: a prepared schema.
        config: the model's config.
        encoder: a function (behaviors [B, T + 1, D], mask [B, T + 1]) -> memory [B, T + 1, D]; see `TimeOrder`.
        reader: as of `Network`.
    """

    def __init__(self, schema: Schema, config: RankerConfig, encoder: Any, reader: Any) -> None:
        super().__init__(schema, config, encoder, reader)
        self._order = TimeOrder(name="time_order")

    def _behaviors(self, inputs: Mapping[str, Any], objects: Mapping[str, Any]) -> tuple[Any, Any]:
        behaviors, mask = super()._behaviors(inputs, objects)
        timestamp = side_by_side(inputs, tuple(objects), "timestamp")
        return self._order(behaviors, mask, timestamp, join([self._content(inputs, name) for name in objects]))

    def _content(self, inputs: Mapping[str, Any], group: str) -> Any:
        """Returns a number for each behavior that no other behavior of its moment has, int64 [B, T_g]."""
        groups = sorted(self.schema.groups)  # By name, not as declared.
        actions = FIRST_ROW + max(len(each.actions) for each in self.schema.groups.values())
        rows = max(entity.rows for entity in self.schema.entities.values())
        first = groups.index(group) * actions * rows
        return first + inputs[f"{group}_action"] * rows + inputs[f"{group}_id"]
