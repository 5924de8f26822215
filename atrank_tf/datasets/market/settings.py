"""How large a simulated market is."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class MarketSettings:
    """What there is in a market, however many users it has.

    Args:
        products, queries, coupons: objects of each kind; at least one for each category.
        categories: what objects are for.
        brands: what objects are known by.
        taste: length of the vectors that say what objects are like.
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
