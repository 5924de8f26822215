"""Sums of whole numbers under names, which may be of some users or of all."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class NonZero(NamedTuple):
    """What is not 0 of some sums: where they are among all, and the numbers there, int64 each."""

    place: np.ndarray
    number: np.ndarray


class Sums:
    """Named sums: counts in fixed bins, and how often each object occurs.

    What is found of some users adds up to what holds of all, in any order: so a worker may sum what it writes, and
    whoever has started it adds that up.

    Args:
        lengths: name -> how many numbers it has.
    """

    def __init__(self, lengths: Mapping[str, int]) -> None:
        ends = np.cumsum(list(lengths.values()), dtype=np.int64).tolist()
        self._places = {name: slice(end - lengths[name], end) for name, end in zip(lengths, ends, strict=True)}
        self._numbers = np.zeros(ends[-1], np.int64)

    def __len__(self) -> int:
        """Returns how many numbers there are, of all names."""
        return len(self._numbers)

    def __getitem__(self, name: str) -> np.ndarray:
        """Returns the numbers of a name, int64."""
        return self._numbers[self._places[name]]

    def add(self, name: str, numbers: np.ndarray | int) -> None:
        """Adds as many numbers as the name has, or one to each."""
        self._numbers[self._places[name]] += numbers

    def add_each(self, name: str, indices: np.ndarray) -> None:
        """Adds 1 for each of some indices, which may be there several times."""
        different, counts = np.unique(indices, return_counts=True)
        self[name][different] += counts

    def subtract(self, other: "Sums") -> None:
        """Takes away sums of the same names."""
        self._numbers -= other._numbers

    def non_zero(self) -> NonZero:
        """Returns what there is to add to the sums of the same names elsewhere."""
        (place,) = np.nonzero(self._numbers)
        return NonZero(place, self._numbers[place])

    def add_all(self, found: NonZero) -> None:
        """Adds what `non_zero` returns of other sums of the same names."""
        self._numbers[found.place] += found.number

    def add_shorter(self, other: "Sums") -> None:
        """Adds sums of the same names that may have fewer numbers: the first ones mean the same."""
        for name in self._places:
            self[name][: len(other[name])] += other[name]
