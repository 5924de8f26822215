"""What a click depends on: the numbers of the equations in `atrank_tf.datasets.market`."""

from typing import NamedTuple

WANT_DAYS, TASTE_DAYS, AGAIN_DAYS = 4.0, 45.0, 14.0
"""In how many days want, taste and again fall to 1/e."""
TASTE_PRIOR = 3.0
"""Weight of having no taste."""
FULFILLED, FOLLOWS = 0.1, 1.0
"""What a purchase leaves of the want of its category, and adds to that of each complement."""


class Effect(NamedTuple):
    """What a behavior does to its user: w, g and r."""

    want: float
    taste: float
    again: float


class Choice(NamedTuple):
    """What a click on one kind of object depends on: A, B and C."""

    base: float
    want: float
    taste: float


EFFECTS = {
    "product": {
        "click": Effect(0.5, 1.0, 0.5),
        "favorite": Effect(0.8, 2.0, 1.5),
        "cart": Effect(1.2, 2.0, 1.0),
        "purchase": Effect(0.0, 3.0, -3.0),
    },
    "query": {"search": Effect(1.0, 1.0, 0.5)},
    "coupon": {"claim": Effect(0.8, 1.0, -2.0), "use": Effect(0.0, 1.0, 2.0)},
}
"""Kind of object -> action -> effect. The first action of a kind is what a click on a candidate is."""
CHOICES = {"product": Choice(-3.9, 5.0, 3.0), "query": Choice(-3.4, 5.0, 2.5), "coupon": Choice(-3.4, 5.0, 2.5)}
