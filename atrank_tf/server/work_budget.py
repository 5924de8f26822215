"""What requests take while they are worked on: memory, which is bounded and given back, and turns while models load."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atrank_tf.server.errors import Code, ServingError

# Below this the allocator keeps what it has for the next request; to give it back takes milliseconds.
_WORTH_GIVING_BACK = 64 * 1024 * 1024

# Seconds after which a version that is still being loaded has hung.
_LONGEST_LOAD = 120.0


class WorkBudget:
    """Bytes that threads take and give back; who finds too few waits, until its deadline.

    Args:
        most: bytes that all may have together.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._changed = threading.Condition()

    @contextmanager
    def take(self, work: int, deadline: float) -> Iterator[None]:
        """Has so many bytes inside the `with` block.

        Args:
            work: bytes, at most those of the budget.
            deadline: reading of `time.monotonic`; infinity for none.

        Raises:
            ServingError: DEADLINE_EXCEEDED if they are not free before.
        """
        with self._changed:
            _wait_for(self._changed, lambda: work <= self._free, deadline)
            self._free -= work
        try:
            yield
        finally:
            with self._changed:
                self._free += work
                self._changed.notify_all()
            if work > _WORTH_GIVING_BACK:
                give_memory_back()


class Turns:
    """Turns of requests. While a version is loaded, no more of them run at once than there are processors.

    More would not be answered sooner, and each takes as much of the processors as the loading does, which then takes
    several times as long: with 32 clients and two processors it has a third of them instead of a ninth. A load that
    hangs holds nobody up: after two minutes it does not count any more.

    Args:
        processors: how many there are.
    """

    def __init__(self, processors: int) -> None:
        self._processors = processors
        self._running = 0
        self._loads: list[float] = []  # when they began
        self._changed = threading.Condition()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Loads a version inside the `with` block."""
        begun = time.monotonic()
        with self._changed:
            self._loads.append(begun)
        try:
            yield
        finally:
            with self._changed:
                self._loads.remove(begun)
                self._changed.notify_all()

    @contextmanager
    def turn(self, deadline: float) -> Iterator[None]:
        """Runs a request inside the `with` block.

        Args:
            deadline: reading of `time.monotonic`; infinity for none.

        Raises:
            ServingError: DEADLINE_EXCEEDED if its turn does not come before.
        """
        with self._changed:
            _wait_for(self._changed, lambda: self._running < self._processors or not self._is_loading(), deadline)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()

    def _is_loading(self) -> bool:
        return any(time.monotonic() - begun < _LONGEST_LOAD for begun in self._loads)


def _wait_for(changed: threading.Condition, what: Callable[[], bool], deadline: float) -> None:
    if not changed.wait_for(what, min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)):
        raise ServingError(Code.DEADLINE_EXCEEDED, "The request did not get its turn within its time limit")


def give_memory_back() -> None:
    """Has the C library give what it holds and nobody uses back to the system; does nothing where it cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
