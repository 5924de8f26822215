"""Histories of a batch of timelines, packed: real behaviors only."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from atrank_tf.layers import NoPadding, Packing
from atrank_tf.models.inputs import behavior_columns
from atrank_tf.schema import PADDING
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS, history_name
from atrank_tf.types import Tensor


class PackedHistories:
    """Packs the behaviors of a batch, group after group, and lays them out by user.

    The inputs pad each group to the longest of the batch. Users differ in what they do most, so these lengths together
    may be half as much again as T, the most behaviors of one user.

    Glossary: B users, T_g padded behaviors of group g, M_g real ones, M real ones of all groups.

    Args:
        inputs: those of `history_specs`; the groups alone are read.
        groups: the names of the groups.

    Attributes:
        ids, actions: group -> int64 [M_g].
        mask: bool [B, T], True = real. A user's behaviors stand group after group, and padding last.
        columns: `id`, `action`, `timestamp` and `group`, its index, from 0; int64 [B, T] each.
        place: int64 [B, T], position within the group, from 1.
    """

    def __init__(self, inputs: Mapping[str, Tensor], groups: Sequence[str]) -> None:
        if len(groups) == 1:
            self._lay_out_one(inputs, groups[0])
        else:
            self._lay_out(inputs, groups)

    def _lay_out_one(self, inputs: Mapping[str, Tensor], group: str) -> None:
        # A batch is of users with histories of one length: packing would cost as much as the little padding.
        ids = inputs[history_name(group, "id")]
        self._packing: Any = NoPadding(tf.shape(ids))
        self.ids, self.actions = (
            {group: self._packing.pack(inputs[history_name(group, column)])} for column in ("id", "action")
        )
        self.mask, self.columns = ids != PADDING, behavior_columns(inputs, [group])
        self.place = tf.cumsum(tf.ones_like(ids), axis=1)

    def _lay_out(self, inputs: Mapping[str, Tensor], groups: Sequence[str]) -> None:
        real = {name: inputs[history_name(name, "id")] != PADDING for name in groups}
        packings = {name: Packing.of(each) for name, each in real.items()}
        self.ids = {name: packings[name].pack(inputs[history_name(name, "id")]) for name in groups}
        self.actions = {name: packings[name].pack(inputs[history_name(name, "action")]) for name in groups}
        counts = [tf.reduce_sum(tf.cast(each, tf.int64), axis=1) for each in real.values()]
        total = tf.add_n(counts)  # [B]
        length = tf.maximum(tf.reduce_max(total), 1)
        users = tf.size(total)
        begin = tf.range(tf.cast(users, tf.int64)) * length  # Where a user's behaviors of a group begin.
        places, packed = [], []
        for number, (name, count) in enumerate(zip(groups, counts, strict=True)):
            place = tf.cumsum(tf.cast(real[name], tf.int64), axis=1)
            places.append(packings[name].pack(begin[:, tf.newaxis] + place - 1))
            columns = [inputs[history_name(name, column)] for column in BEHAVIOR_COLUMNS]
            columns += [tf.fill(tf.shape(place), tf.cast(number, tf.int64)), place]
            packed.append(packings[name].pack(tf.stack(columns, axis=2)))
            begin += count
        self._packing = Packing(tf.concat(places, axis=0), tf.stack([users, tf.cast(length, tf.int32)]))
        self.mask = tf.sequence_mask(total, length)
        *by_user, self.place = tf.unstack(self.by_user(tf.concat(packed, axis=0)), axis=2)
        self.columns = dict(zip((*BEHAVIOR_COLUMNS, "group"), by_user, strict=True))

    def by_user(self, rows: Tensor) -> Tensor:
        """Lays packed behaviors out by user: [M, ...] -> [B, T, ...], 0 at padding."""
        return self._packing.unpack(rows)

    def windows(self, counts: Tensor, longest: Sequence[int]) -> Tensor:
        """Returns which behaviors are in the history of each target: the newest of those that it sees of each group.

        Args:
            counts: int64 [B, groups, P], how many behaviors of each group each of P targets sees.
            longest: `max_length` of each group.

        Returns:
            bool [B, P, T].
        """
        place, group = self.place[:, :, tf.newaxis], self.columns["group"]
        end = tf.gather(counts, group, batch_dims=1)  # [B, T, P]
        begin = end - tf.gather(tf.constant(longest, tf.int64), group)[:, :, tf.newaxis]
        return tf.transpose((place > begin) & (place <= end) & self.mask[:, :, tf.newaxis], (0, 2, 1))
