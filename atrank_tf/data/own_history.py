"""Draws negatives from what the user did before: viewed and not bought, bought before and not now."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from atrank_tf.data.excluded import Excluded, excluded
from atrank_tf.data.records import Records
from atrank_tf.data.targets import SPAN, Behaviors, Chunk, Targets, first_at_least, index_in_user, parse_group
from atrank_tf.schema import PADDING, Negatives
from atrank_tf.types import Tensor


class OwnHistory(NamedTuple):
    """Objects that each user of a chunk has done something with, each once; E objects of all users.

    `id`: int64 [E]. `first`: int64 [E], user * SPAN + Unix seconds of the first time, ascending: what a user knows at a
    time are the first of their objects. `places`: int64 [P], ascending, owner * SPAN + the place among a user's objects
    of one that is excluded for this owner. `skipped`: int64 [P], ascending, owner * SPAN + how many objects come before
    that place and are not excluded. `pairs`: int64 [E], ascending, user * SPAN + object. `pair_first`: int64 [E], Unix
    seconds of the first time of each of the pairs.
    """

    id: Tensor
    first: Tensor
    places: Tensor
    skipped: Tensor
    pairs: Tensor
    pair_first: Tensor

    def draw(self, barred: Excluded, targets: Targets, number: int, seed: Tensor) -> Tensor:
        """Draws objects that the user of each target had done something with before the request time.

        Each that is not excluded is as likely as any other, however often it was done. A draw has no object twice.

        Args:
            barred: what may not be drawn.
            targets: M targets.
            number: how many to draw.
            seed: int64 [2].

        Returns:
            Ids, int64 [M, number]; `PADDING` behind the last if the user has fewer.
        """
        owners = barred.owners(targets)[:, tf.newaxis] * SPAN
        begins = first_at_least(self.first, targets.user * SPAN)
        left = self._left(owners, begins, targets)
        count = tf.minimum(left, number)
        # Evenly spaced from a random start: each object is as likely, and none comes twice.
        shift = tf.random.stateless_uniform(tf.shape(left), seed, dtype=tf.float64)[:, tf.newaxis]
        step = tf.cast(left, tf.float64) / tf.cast(tf.maximum(count, 1), tf.float64)
        numbers = tf.range(number, dtype=tf.int64)[tf.newaxis, :]
        chosen = tf.cast((tf.cast(numbers, tf.float64) + shift) * step[:, tf.newaxis], tf.int64)
        chosen = tf.minimum(chosen, left[:, tf.newaxis] - 1)
        # Of those that are not excluded the one of this number: behind as many excluded ones as come before it.
        place = begins[:, tf.newaxis] + chosen + self._between(self.skipped, owners, owners + chosen + 1)
        real = numbers < count[:, tf.newaxis]
        with_padding = tf.concat([tf.constant([PADDING], tf.int64), self.id], axis=0)
        return tf.gather(with_padding, tf.where(real, place + 1, 0))

    def expected(self, barred: Excluded, targets: Targets, number: int, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Returns how often `draw` is expected to find objects, and how many it finds in all.

        An object that is excluded counts as if it were not.

        Args:
            barred: what may not be drawn.
            targets: M targets.
            number: how many are drawn.
            ids: int64 [M, n].

        Returns:
            float32 [M, n], 0 for an object that the user had done nothing with before the request time; float32 [M].
        """
        owners = barred.owners(targets)[:, tf.newaxis] * SPAN
        left = self._left(owners, first_at_least(self.first, targets.user * SPAN), targets)
        drawn = tf.cast(tf.minimum(left, number), tf.float32)
        keys = targets.user[:, tf.newaxis] * SPAN + ids
        place = tf.reshape(first_at_least(self.pairs, tf.reshape(keys, [-1])), tf.shape(keys))
        beyond = tf.concat([self.pairs, tf.constant([-1], tf.int64)], axis=0)
        found = tf.gather(beyond, place) == keys
        first = tf.gather(tf.concat([self.pair_first, tf.constant([0], tf.int64)], axis=0), place)
        found &= first < targets.request_time[:, tf.newaxis]
        each = drawn / tf.cast(tf.maximum(left, 1), tf.float32)
        return tf.where(found, each[:, tf.newaxis], 0.0), drawn

    def _left(self, owners: Tensor, begins: Tensor, targets: Targets) -> Tensor:
        """Returns how many objects a target's user knows that may be drawn, int64 [M]; owners * SPAN are [M, 1]."""
        known = first_at_least(self.first, targets.user * SPAN + targets.request_time) - begins
        return known - self._between(self.places, owners, owners + known[:, tf.newaxis])[:, 0]

    @staticmethod
    def _between(keys: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Returns how many keys are at least `low` and below `high`: int64, in the shape of `high`, [M, n]."""
        below = tf.reshape(first_at_least(keys, tf.reshape(high, [-1])), tf.shape(high))
        return below - first_at_least(keys, low[:, 0])[:, tf.newaxis]


def own_objects(
    records: Records, task_name: str, negatives: Negatives, chunk: Chunk, serialized: Tensor
) -> tuple[Excluded, OwnHistory | None]:
    """Returns what negatives of a task's targets in a chunk may not be, and what those of the kind "history" may be.

    Behaviors of groups that the records' view has not are read for it: so that all models are compared on the same
    candidates, whichever groups they read.

    Args:
        records: the records.
        task_name: the task.
        negatives: how many are drawn.
        chunk: the chunk.
        serialized: string [U], the Examples that the chunk is of.
    """
    barred = excluded(chunk, records.schema, task_name)
    if not negatives.history:
        return barred, None
    entity = records.schema.entity_of(task_name)
    names = [name for name, group in records.all_groups.items() if group.entity == entity]
    groups = [chunk.groups[name] if name in chunk.groups else parse_group(serialized, name) for name in names]
    return barred, own_history(groups, barred)


def own_history(groups: Sequence[Behaviors], barred: Excluded) -> OwnHistory:
    """Returns what the users of a chunk did something with.

    Args:
        groups: all behaviors with objects of the task's entity, group by group.
        barred: what may not be drawn; each is an object that its user has a behavior with, in one of the groups.
    """
    user, ids = (tf.concat([getattr(rows, column) for rows in groups], axis=0) for column in ("user", "id"))
    times = user * SPAN + tf.concat([rows.timestamp for rows in groups], axis=0)
    order = tf.argsort(times, stable=True)
    pairs, index = tf.unique(tf.gather(user * SPAN + ids, order), out_idx=tf.int64)  # In the order of the first time.
    first = tf.math.unsorted_segment_min(tf.gather(times, order), index, tf.size(pairs, tf.int64))
    by_pair = tf.argsort(pairs)
    owner, excluded_id = barred.keys // SPAN, barred.keys % SPAN
    of_user = owner if barred.moments is None else tf.gather(barred.moments, owner) // SPAN
    found = tf.gather(by_pair, first_at_least(tf.gather(pairs, by_pair), of_user * SPAN + excluded_id))
    places = tf.sort(owner * SPAN + tf.cast(found, tf.int64) - first_at_least(first, of_user * SPAN))
    skipped = places - index_in_user(places // SPAN)
    pair_first = tf.gather(first, by_pair) % SPAN
    return OwnHistory(pairs % SPAN, first, places, skipped, tf.gather(pairs, by_pair), pair_first)
