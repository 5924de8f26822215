"""Products, queries and coupons of a simulated market."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atrank_tf.datasets.market.equations import MarketSettings

KINDS = ("product", "query", "coupon")
COMPLEMENTS = 2
"""Number of complements of a category: categories that are wanted after a purchase in it."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Objects:
    """All objects of a market, numbered 0 to O - 1: products, then queries, then coupons; each kind by category.

    Args:
        category, brand: int [O].
        vector: float [O, taste], the unit vectors v(o).
        attraction: float [O], q(o).
        popularity: float [O + 1], cumulative popularity; the first one is 0.
        begins: kind -> int [categories + 1], the first object of each category, and the end of the last.
        complements: int [categories, COMPLEMENTS], categories.
    """

    category: Integers
    brand: Integers
    vector: Floats
    attraction: Floats
    popularity: Floats
    begins: Mapping[str, Integers]
    complements: Integers

    def of_kind(self, kind: str) -> slice:
        """Returns the slice of the objects of a kind."""
        return slice(int(self.begins[kind][0]), int(self.begins[kind][-1]))

    def draw(self, kind: str, uniform: Floats) -> Integers:
        """Returns objects of a kind by popularity, one for each number in [0, 1)."""
        begins = self.begins[kind]
        return self._draw(begins[0], begins[-1], uniform)

    def draw_in(self, category: Integers, kind: str, uniform: Floats) -> Integers:
        """Returns objects of a kind and of the categories, by popularity, one for each number in [0, 1)."""
        begins = self.begins[kind]
        return self._draw(begins[category], begins[category + 1], uniform)

    def _draw(self, begin: Integers, end: Integers, uniform: Floats) -> Integers:
        low, high = self.popularity[begin], self.popularity[end]
        found = np.searchsorted(self.popularity, low + uniform * (high - low), side="right") - 1
        return np.clip(found, begin, end - 1)  # Rounding could leave the range.


def draw_objects(settings: MarketSettings, seed: int) -> Objects:
    """Draws the objects of a market."""
    rng = np.random.default_rng([seed, 0])
    complements = np.stack([rng.permutation(settings.categories) for _ in range(COMPLEMENTS)], axis=1)
    wanted = 1.0 / (1.0 + rng.permutation(settings.categories)) ** 0.7  # Zipf, but for the first ones.
    of_categories, of_brands = _vectors(rng, settings.categories, settings), _vectors(rng, settings.brands, settings)
    counts = (settings.products, settings.queries, settings.coupons)
    category = np.concatenate([_categories(rng, count, settings) for count in counts])
    total = sum(counts)
    brand = (settings.brands * rng.random(total) ** 2).astype(np.int64)
    vector = 0.7 * of_categories[category] + 0.9 * of_brands[brand] + 0.4 * _vectors(rng, total, settings)
    appeal = rng.normal(size=total)
    begins, first = {}, 0
    for kind, count in zip(KINDS, counts, strict=True):
        own = category[first : first + count]
        begins[kind] = first + np.searchsorted(own, np.arange(settings.categories + 1))
        first += count
    shown = np.exp(appeal) * wanted[category]
    return Objects(
        category=category,
        brand=brand,
        vector=_to_length_1(vector),
        attraction=0.4 * appeal + 0.3 * rng.normal(size=total),
        popularity=np.concatenate([[0.0], np.cumsum(shown)]),
        begins=begins,
        complements=complements,
    )


def _categories(rng: np.random.Generator, count: int, settings: MarketSettings) -> Integers:
    more = rng.integers(0, settings.categories, count - settings.categories)
    return np.sort(np.concatenate([np.arange(settings.categories), more]))


def _vectors(rng: np.random.Generator, count: int, settings: MarketSettings) -> Floats:
    return _to_length_1(rng.normal(size=(count, settings.taste)))


def _to_length_1(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
