"""How far long work is: a bar on a terminal, elsewhere a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, Self, TypeVar

from tqdm import tqdm

SECONDS = 10
"""Time between two lines."""
T = TypeVar("T")


class Lines:
    """Writes to stderr how far something is, once in `SECONDS` while it goes on; what is done sooner writes nothing.

    Args:
        title: what is done.
        unit: what is counted, in the plural.
        total: how many there are; None if that is not known.
        clock: seconds of a clock that only goes forward.
    """

    def __init__(
        self, title: str, unit: str, total: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title, self._unit, self._total, self._clock = title, unit, total, clock
        self._done, self._started = 0, clock()
        self._next = self._started + SECONDS

    def update(self, more: int, note: Callable[[], str] = str) -> None:
        """Counts some more; `note` is asked for what the line says besides."""
        self._done += more
        now = self._clock()
        if now < self._next:
            return
        self._next = now + SECONDS
        seconds = now - self._started
        says = f"{self._title}: {self._done:,}{f' of {self._total:,}' if self._total else ''} {self._unit}"
        says += f" in {tqdm.format_interval(seconds)}"
        if self._total and self._done:
            left = seconds * max(0, self._total - self._done) / self._done
            says += f", about {tqdm.format_interval(left)} to go"
        sys.stderr.write(f"{says}{note()}\n")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def progress(title: str, unit: str, total: int | None = None) -> Any:
    """Returns what counts as `tqdm` does (`update`, in a `with` block): a bar on a terminal, else `Lines`."""
    if sys.stderr.isatty():
        return tqdm(desc=title, unit=f" {unit}", total=total, mininterval=1.0, leave=False)
    return Lines(title, unit, total)


def tracked(items: Iterable[T], title: str, unit: str) -> Iterator[T]:
    """Yields items, and shows how many are done."""
    with progress(title, unit, len(items) if isinstance(items, Sized) else None) as shown:
        for item in items:
            yield item
            shown.update(1)
