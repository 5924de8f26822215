"""Simulates what users do in a market, visit by visit."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atrank_tf.datasets.market.equations import EFFECTS
from atrank_tf.datasets.market.objects import COMPLEMENTS, KINDS, Floats, Integers, Objects
from atrank_tf.datasets.market.shoppers import NOTHING, RECENT, Shoppers, place_in_run, sigmoid

DAY = 86_400
DAYS, ARRIVAL_DAYS = 120, 30
"""Days that a market is open, and the first of these days, within which every user comes for the first time."""
MOST_VISITS = 64
BURST_DAYS, AWAY_DAYS = 0.5, 20.0
"""Mean days to the next visit: half of the visits follow within a burst, half after it. Divided by user activity."""
PAUSE, STEP = 1_800, 10
"""Least seconds between two visits, and seconds between two behaviors."""

OPENS = 0.5
"""Share of the visits after the first that open with a behavior that no request led to."""
OPENINGS = {"query": 0.5, "product": 0.35, "coupon": 0.15}
OPTIONS = 4
"""Number of objects, drawn by popularity, that the user chooses from in an opening."""

REQUESTS = {"query": (0.35, 10), "coupon": (0.3, 10), "product": (0.55, 14)}
"""Kind, in the order of a visit -> share of the visits with a request of it, most candidates of the request."""
OF_COMPLEMENT, OF_CATEGORY, SEEN = 0.1, 0.35, 0.1
"""Shares of the candidates that depend on one of the newest behaviors: of a complement of its category, of its
category, and its own object. The others are drawn by popularity."""

FAVORITE, CART = -2.0, -0.7
"""Added to the logit of a click that happened, for the logit of the next step."""
PURCHASE, PURCHASE_WITH_COUPON = 0.4, 0.8
"""Probability that a product in the cart is purchased."""


class Behaviors(NamedTuple):
    """V behaviors on one kind of object: int64 [V] each.

    `user`: index in the block. `chosen`: the object. `action`: index in the kind's actions. `moment`: seconds since the
    opening of the market.
    """

    user: Integers
    chosen: Integers
    action: Integers
    moment: Integers


class Shown(NamedTuple):
    """C candidates of one kind, request by request: [C] each.

    `user`: index in the block. `visit`: number of the visit, which has one request of a kind at most. `moment`: request
    time, seconds since the opening. `shown`: the object. `label`: whether it was clicked. `probability`: of a click.
    """

    user: Integers
    visit: Integers
    moment: Integers
    shown: Integers
    label: NDArray[np.bool_]
    probability: Floats


class Visits:
    """All visits of a block of U users; the constructor simulates them.

    Args:
        objects: objects of the market.
        count: U.
        rng: random generator of all draws.

    Attributes:
        behaviors: kind -> behaviors, in parts.
        shown: kind -> candidates of requests, in parts.
    """

    def __init__(self, objects: Objects, count: int, rng: np.random.Generator) -> None:
        self._objects, self._rng = objects, rng
        self._shoppers = Shoppers(objects, count)
        self._clock = np.zeros(count, np.int64)  # The last second of each user in which something happened.
        self.behaviors: dict[str, list[Behaviors]] = {kind: [] for kind in KINDS}
        self.shown: dict[str, list[Shown]] = {kind: [] for kind in KINDS}
        begins = self._begins(count)
        for visit in range(MOST_VISITS):
            users = np.flatnonzero(begins[:, visit] < DAYS * DAY)
            self._clock[users] = np.maximum(begins[users, visit], self._clock[users] + PAUSE)
            self._open(users[self._happens(users, OPENS if visit else 1.0)])
            for kind, (share, candidates) in REQUESTS.items():
                self._request(kind, visit, users[self._happens(users, share)], candidates)

    def _begins(self, count: int) -> Integers:
        """Returns the times at which visits begin, in seconds, int64 [U, MOST_VISITS], ascending."""
        rng, shape = self._rng, (count, MOST_VISITS)
        activity = 0.1 + rng.gamma(4.0, 0.25, (count, 1))
        days = rng.exponential(np.where(rng.random(shape) < 0.5, BURST_DAYS, AWAY_DAYS) / activity)
        days[:, 0] = rng.uniform(0, ARRIVAL_DAYS, count)
        return (np.cumsum(days, axis=1) * DAY).astype(np.int64)

    def _open(self, users: Integers) -> None:
        """Simulates one behavior of each user that no request led to."""
        kinds = self._rng.choice(len(OPENINGS), len(users), p=list(OPENINGS.values()))
        for number, kind in enumerate(OPENINGS):
            own = users[kinds == number]
            options = self._objects.draw(kind, self._rng.random((len(own), OPTIONS)))
            logits = self._shoppers.logits(kind, own, self._clock[own] / DAY, options)
            best = np.argmax(logits + self._rng.gumbel(size=logits.shape), axis=1)
            self._act(kind, _first_action(kind), own, np.take_along_axis(options, best[:, np.newaxis], axis=1)[:, 0])

    def _request(self, kind: str, visit: int, users: Integers, candidates: int) -> None:
        """Simulates one request of each user, and what follows from it."""
        self._clock[users] += self._rng.integers(20, 120, len(users))
        shown = self._candidates(kind, users, candidates)
        logits = self._shoppers.logits(kind, users, self._clock[users] / DAY, shown)
        probability = sigmoid(logits)
        new = _new_in_row(shown)
        clicked = new & (self._rng.random(shown.shape) < probability)
        asked = users[np.nonzero(new)[0]]
        visits, moments = np.full(len(asked), visit), self._clock[asked]
        self.shown[kind].append(Shown(asked, visits, moments, shown[new], clicked[new], probability[new]))
        users, chosen, logits = users[np.nonzero(clicked)[0]], shown[clicked], logits[clicked]
        self._act(kind, _first_action(kind), users, chosen)
        if kind == "product":
            self._go_on(users, chosen, logits)

    def _go_on(self, users: Integers, chosen: Integers, logits: Floats) -> None:
        """Simulates what follows from V clicks on products; `users` ascending."""
        favorite = self._happens(users, sigmoid(logits + FAVORITE))
        self._act("product", "favorite", users[favorite], chosen[favorite])
        cart = self._happens(users, sigmoid(logits + CART))
        users, chosen = users[cart], chosen[cart]
        self._act("product", "cart", users, chosen)
        coupon = self._shoppers.coupon[users, self._objects.category[chosen]]
        bought = self._happens(users, np.where(coupon == NOTHING, PURCHASE, PURCHASE_WITH_COUPON))
        users, first = np.unique(users[bought], return_index=True)  # One purchase of a user at most.
        coupon = coupon[bought][first]
        self._act("product", "purchase", users, chosen[bought][first])
        with_coupon = coupon != NOTHING
        self._act("coupon", "use", users[with_coupon], coupon[with_coupon])

    def _candidates(self, kind: str, users: Integers, count: int) -> Integers:
        """Returns the candidates of R requests, int64 [R, count]; an object may be there twice."""
        objects, shoppers, shape = self._objects, self._shoppers, (len(users), count)
        source, uniform, recent, which = self._rng.random((4, *shape))
        rows = users[:, np.newaxis]
        reason = shoppers.recent[rows, (recent * np.minimum(shoppers.acted[rows], RECENT)).astype(np.int64)]
        category = objects.category[reason]
        complement = objects.complements[category, (which * COMPLEMENTS).astype(np.int64)]
        related = objects.draw_in(np.where(source < OF_COMPLEMENT, complement, category), kind, uniform)
        own = objects.of_kind(kind)
        seen = np.where((own.start <= reason) & (reason < own.stop), reason, related)
        limits = np.cumsum([OF_COMPLEMENT + OF_CATEGORY, SEEN])
        popular = objects.draw(kind, uniform)
        return np.select([source < limits[0], source < limits[1]], [related, seen], popular)

    def _act(self, kind: str, action: str, users: Integers, chosen: Integers) -> None:
        """Records V behaviors, those of one user one after the other; `users` ascending."""
        moments = self._clock[users] + STEP * (1 + place_in_run(users))
        self._clock[users] = moments  # The last of a user's stays.
        self._shoppers.act(kind, action, users, moments / DAY, chosen)
        number = list(EFFECTS[kind]).index(action)
        self.behaviors[kind].append(Behaviors(users, chosen, np.full(len(users), number), moments))

    def _happens(self, users: Integers, probability: Floats | float) -> NDArray[np.bool_]:
        return self._rng.random(len(users)) < probability


def _first_action(kind: str) -> str:
    """Returns the action of a click on a candidate."""
    return next(iter(EFFECTS[kind]))


def _new_in_row(values: Integers) -> NDArray[np.bool_]:
    """Returns which values of [R, N] are the first of their kind in their row, bool [R, N]."""
    order = np.argsort(values, axis=1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=1)
    different = np.ones(values.shape, np.bool_)
    different[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    new = np.empty_like(different)
    np.put_along_axis(new, order, different, axis=1)
    return new
