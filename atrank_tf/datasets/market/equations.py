"""Constants of the click probability in `atrank_tf.datasets.market`, and the sizes of a market."""

from dataclasses import asdict, dataclass
from typing import NamedTuple

WANT_DAYS, TASTE_DAYS, AGAIN_DAYS = 4.0, 45.0, 14.0
"""Days in which want, taste and again decay to 1/e."""
TASTE_PRIOR = 3.0
"""Weight of the zero vector in the mean that is a user's taste."""
FULFILLED, FOLLOWS = 0.1, 1.0
"""Factor of a purchase on the want of its category, and what it adds to the want of each complement."""


class Effect(NamedTuple):
    """Weights of a behavior in want, taste and again: w, g and r."""

    want: float
    taste: float
    again: float


class Choice(NamedTuple):
    """Constants of the click probability for one kind of object: A, B and C."""

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
"""Kind of object -> action -> effect. A click on a candidate is the first action of its kind."""
CHOICES = {"product": Choice(-3.9, 5.0, 3.0), "query": Choice(-3.4, 5.0, 2.5), "coupon": Choice(-3.4, 5.0, 2.5)}


@dataclass(frozen=True, kw_only=True)
class MarketSettings:
    """Sizes of a market, apart from its number of users.

    Args:
        products, queries, coupons: number of objects of each kind; at least one for each category.
        categories: number of categories.
        brands: number of brands.
        taste: dimension of the vectors v(o).
    """

    products: int = 6_000
    queries: int = 2_000
    coupons: int = 1_000
    categories: int = 200
    brands: int = 300
    taste: int = 4

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be positive. Received: {name}={value}.")
        for name in ("products", "queries", "coupons"):
            if getattr(self, name) < self.categories:
                raise ValueError(
                    f"{name} must be at least the number of categories. "
                    f"Received: {name}={getattr(self, name)}, categories={self.categories}."
                )
