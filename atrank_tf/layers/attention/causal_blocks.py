"""Causal self-attention at a cost that grows with the length of a timeline, not with its square: blocks by time."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers.packing import Packing
from atrank_tf.layers.time_order import time_order
from atrank_tf.types import Tensor


class TimeBlocks:
    """Divides timelines into blocks of C behaviors by time, and puts the blocks' results back in their places.

    Where one block holds all of a timeline, nothing is moved.

    Glossary: B users, T behaviors, n blocks of C behaviors each, S behaviors that a block sees: 2 C, or C of one block.

    Args:
        position: int64 [B, T], where each behavior stands by time, from 0.
        width: C, an int or an int32 scalar.
    """

    def __init__(self, position: Tensor, width: int | Tensor) -> None:
        self._position, self._width = position, width
        self._users, self._length = ops.shape(position)

    def split(self, values: Tensor) -> Tensor:
        """[B, T, ...] -> [B * n, C, ...], 0 where the last block has no behavior."""
        inner = values.shape[2:]
        return self._if_many(lambda: self._packing().unpack(tf.reshape(values, [-1, *inner])), values)

    def join(self, blocks: Tensor) -> Tensor:
        """[B * n, C, ...] -> [B, T, ...]."""
        form = [self._users, self._length, *blocks.shape[2:]]
        return self._if_many(lambda: tf.reshape(self._packing().pack(blocks), form), blocks)

    def seen(self, blocks: Tensor) -> Tensor:
        """[B * n, C, ...] -> [B * n, S, ...]: before each block the one before it, 0 before the first."""
        inner = blocks.shape[2:]

        def with_before() -> Tensor:
            own = tf.reshape(blocks, [self._users, self._number(), self._width, *inner])
            before = tf.pad(own[:, :-1], [[0, 0], [1, 0], *[[0, 0]] * (len(inner) + 1)])
            return tf.reshape(tf.concat([before, own], axis=2), [-1, 2 * self._width, *inner])

        return self._if_many(with_before, blocks)

    def _number(self) -> int | Tensor:
        return -(-self._length // self._width)

    def _packing(self) -> Packing:
        """Of the behaviors in the blocks."""
        room = tf.cast(self._number() * self._width, tf.int64)
        places = tf.range(tf.cast(self._users, tf.int64))[:, tf.newaxis] * room + self._position
        return Packing(tf.reshape(places, [-1]), tf.stack([self._users * self._number(), self._width]))

    def _if_many(self, moved: Callable[[], Tensor], values: Tensor) -> Tensor:
        found = only_if(self._length > self._width, moved, values)
        return tf.ensure_shape(found, [None, None, *values.shape[2:]])


def only_if(condition: bool | Tensor, function: Callable[[], Tensor], otherwise: Tensor) -> Tensor:
    """Returns what a function gives if a condition holds, else `otherwise`, which may have another shape.

    Where the condition is known in advance the graph has one branch, as XLA demands of shapes.
    """
    if isinstance(condition, bool):
        return function() if condition else otherwise
    return tf.cond(condition, function, lambda: otherwise)


@keras.saving.register_keras_serializable(package="atrank_tf")
class CausalBlocks(keras.layers.Layer):
    """Tells what each behavior of a timeline may see in causal self-attention: its own block and the one before.

    The behaviors of all groups stand in blocks of `window` by time, counted from the first one. Of its own block and
    the one before, a behavior sees the earlier ones, and those of its timestamp by a rule: one of a group whose order
    within a timestamp counts (`ordered`) sees only the behaviors of its group that stand before it, and itself; every
    other one sees all of them. So nothing that a target may not see reaches it through what it may see, and whoever has
    at most `window` behaviors sees as if there were no blocks.

    Within a timestamp the sort key `content` says who comes first, which matters where a block ends.

    Glossary: B users, T behaviors of all groups, n blocks of C behaviors each, S behaviors that a block sees. C is
    `window` and S 2 C; a timeline of two blocks is computed as a single one: n = 1, C = S = T.

    Masking: padding stands last in its blocks, and is not seen.

    Args:
        ordered: for each group, whether its order within a timestamp counts.
        window: behaviors in a block.

    Call arguments:
        timestamp: int64 [B, T]; those of one group whose order counts in time order.
        group: int64 [B, T], the number of each behavior's group, from 0.
        behavior_mask: bool [B, T], True = real.
        content: int64 [B, T], sorts the behaviors of one timestamp; equal ones keep their order.

    Returns:
        A dict:

        | name | | |
        |---|---|---|
        | `position` | int64 [B, T] | where each behavior stands by time, for `TimeBlocks` |
        | `timestamp` | int64 [B * n, C] | of each block |
        | `seen_timestamp` | int64 [B * n, S] | of what it sees |
        | `visible` | bool [B * n, C, S] | whether the behavior of the second axis sees the one of the third |

    Reference:
        Transformer-XL (arXiv 1901.02860), section 3.2, where each segment sees the one before it.
    """

    def __init__(self, ordered: Sequence[bool], window: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ordered = tuple(bool(each) for each in ordered)
        self.window = window

    def call(self, timestamp: Tensor, group: Tensor, behavior_mask: Tensor, content: Tensor) -> dict[str, Tensor]:
        length = ops.shape(timestamp)[1]
        position = only_if(
            length > self.window,
            lambda: tf.argsort(time_order(timestamp, behavior_mask, content), axis=1),
            tf.broadcast_to(tf.range(length), tf.shape(timestamp)),
        )
        position = tf.ensure_shape(tf.cast(position, tf.int64), timestamp.shape)
        one = length <= 2 * self.window  # Two blocks that see each other are computed as one.
        width = only_if(one, lambda: length, self.window)
        blocks = TimeBlocks(position, width)
        real = tf.cast(behavior_mask, tf.int64)
        own = blocks.split(tf.stack([timestamp, group, position, real], axis=2))
        time, groups, places, _ = tf.unstack(own, axis=2)  # [B * n, C] each
        seen_time, seen_groups, seen_places, seen_real = tf.unstack(blocks.seen(own), axis=2)  # [B * n, S] each
        visible = self.sees(time, groups, places, seen_time, seen_groups, seen_places)
        visible = tf.logical_and(visible, tf.cast(seen_real, tf.bool)[:, tf.newaxis])
        two = (length > self.window) & one
        within = only_if(two, lambda: tf.logical_and(visible, self.near(places, seen_places)), visible)
        return {"position": position, "timestamp": time, "seen_timestamp": seen_time, "visible": within}

    def compute_output_spec(self, timestamp: Tensor, group: Tensor, behavior_mask: Tensor, content: Tensor) -> Any:
        del group, behavior_mask, content
        own = seen = timestamp.shape[1]
        if own is not None and own > 2 * self.window:
            own, seen = self.window, 2 * self.window
        return {
            "position": keras.KerasTensor(timestamp.shape, "int64"),
            "timestamp": keras.KerasTensor((None, own), "int64"),
            "seen_timestamp": keras.KerasTensor((None, seen), "int64"),
            "visible": keras.KerasTensor((None, own, seen), "bool"),
        }

    def sees(
        self,
        timestamp: Tensor,
        group: Tensor,
        position: Tensor,
        seen_timestamp: Tensor,
        seen_group: Tensor,
        seen_position: Tensor,
    ) -> Tensor:
        """Returns whether each of Q behaviors sees each of S others, but for blocks and padding, bool [B, Q, S].

        Args:
            timestamp, group, position: int64 [B, Q].
            seen_timestamp, seen_group, seen_position: int64 [B, S].
        """
        query, key = timestamp[:, :, None], seen_timestamp[:, None]
        if not any(self.ordered):
            return query >= key
        same_group = ops.equal(group[:, :, None], seen_group[:, None])
        own = ops.logical_and(same_group, position[:, :, None] >= seen_position[:, None])
        unordered = ops.logical_not(ops.take(ops.convert_to_tensor(self.ordered), group))[:, :, None]
        return ops.logical_or(query > key, ops.logical_and(ops.equal(query, key), ops.logical_or(unordered, own)))

    def near(self, position: Tensor, seen_position: Tensor) -> Tensor:
        """Returns whether positions, int64 [B, S], are in the blocks that those of [B, Q] see, bool [B, Q, S]."""
        number, seen = position[:, :, None] // self.window, seen_position[:, None] // self.window
        return ops.logical_or(ops.equal(number, seen), ops.equal(number, seen + 1))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"ordered": self.ordered, "window": self.window}
