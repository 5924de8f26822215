"""State of the users of a market: wants, tastes and recent behaviors, on which clicks depend."""

import numpy as np

from atrank_tf.datasets.market.equations import (
    AGAIN_DAYS,
    CHOICES,
    EFFECTS,
    FOLLOWS,
    FULFILLED,
    TASTE_DAYS,
    TASTE_PRIOR,
    WANT_DAYS,
)
from atrank_tf.datasets.market.objects import Floats, Integers, Objects

RECENT = 8
"""Number of newest behaviors of a user that are kept one by one."""
NOTHING = -1
"""Stands for no object."""


class Shoppers:
    """The state of U users.

    Decaying sums are kept as they would be at day 0, so that each term is added once and never touched again:
    exp((t_b - t) / s) = exp(t_b / s) * exp(-t / s).

    Args:
        objects: objects of the market.
        count: U.

    Attributes:
        recent: int [U, RECENT], the objects of the newest behaviors, in no particular order.
        acted: int [U], number of behaviors so far.
        coupon: int [U, categories], a coupon that was claimed and not used, or `NOTHING`.
    """

    def __init__(self, objects: Objects, count: int) -> None:
        self._objects = objects
        categories = len(objects.complements)
        self._want = np.zeros((count, categories))
        self._taste = np.zeros((count, objects.vector.shape[1]))
        self._tasted = np.zeros(count)
        self._again = np.zeros((count, len(objects.category)), np.float32)
        self.recent = np.zeros((count, RECENT), np.int64)
        self.acted = np.zeros(count, np.int64)
        self.coupon = np.full((count, categories), NOTHING)

    def logits(self, kind: str, users: Integers, days: Floats, shown: Integers) -> Floats:
        """Returns the logits of clicks on candidates, float [R, N].

        Args:
            kind: kind of the objects.
            users: int [R].
            days: float [R], request times in days.
            shown: int [R, N], objects.
        """
        objects, choice = self._objects, CHOICES[kind]
        days, users = days[:, np.newaxis], users[:, np.newaxis]
        want = self._want[users, objects.category[shown]] * np.exp(-days / WANT_DAYS)
        taste = self._taste[users[:, 0]] / (TASTE_PRIOR * np.exp(days / TASTE_DAYS) + self._tasted[users])
        liked = np.einsum("rd,rnd->rn", taste, objects.vector[shown])
        again = self._again[users, shown] * np.exp(-days / AGAIN_DAYS)
        return choice.base + objects.attraction[shown] + choice.want * want / (1 + want) + choice.taste * liked + again

    def act(self, kind: str, action: str, users: Integers, days: Floats, chosen: Integers) -> None:
        """Updates the state by V behaviors of one action.

        Args:
            kind: kind of the objects.
            action: the action.
            users: int [V], ascending; a user may be there several times, but once for a purchase.
            days: float [V], times in days.
            chosen: int [V], objects.
        """
        objects, effect = self._objects, EFFECTS[kind][action]
        category = objects.category[chosen]
        grown = effect.taste * np.exp(days / TASTE_DAYS)
        np.add.at(self._want, (users, category), effect.want * np.exp(days / WANT_DAYS))
        np.add.at(self._taste, users, grown[:, np.newaxis] * objects.vector[chosen])
        np.add.at(self._tasted, users, grown)
        np.add.at(self._again, (users, chosen), (effect.again * np.exp(days / AGAIN_DAYS)).astype(np.float32))
        if action == "purchase":
            self._want[users, category] *= FULFILLED
            follows = FOLLOWS * np.exp(days / WANT_DAYS)
            np.add.at(self._want, (users[:, np.newaxis], objects.complements[category]), follows[:, np.newaxis])
        elif action == "claim":
            self.coupon[users, category] = chosen
        elif action == "use":
            self.coupon[users, category] = NOTHING
        self.recent[users, (self.acted[users] + place_in_run(users)) % RECENT] = chosen
        np.add.at(self.acted, users, 1)


def place_in_run(ascending: Integers) -> Integers:
    """Returns 0, 1, 2, ... within each run of equal values, int [V]."""
    return np.arange(len(ascending)) - np.searchsorted(ascending, ascending)


def sigmoid(logits: Floats) -> Floats:
    """Returns the probabilities of logits."""
    return 1 / (1 + np.exp(-logits))
