"""What requests take while they are worked on: memory, which is bounded and given back, and turns while models load."""

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from atrank_tf.server.errors import Code, ServingError

# Below this the allocator keeps what it has for the next request; to give it back takes milliseconds.
_WORTH_GIVING_BACK = 64 * 1024 * 1024

# Seconds after which a version that is still being loaded has hung.
_LONGEST_LOAD = 120.0


class WorkBudget:
    """Bytes that threads take and give back; who finds too few waits, until its deadline.

    Who came first is served first, but what fits does not wait for what does not.

    Args:
        most: bytes that all may have together.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, threading.Event]] = []

    @contextmanager
    def take(self, work: int, deadline: float) -> Iterator[None]:
        """Has so many bytes inside the `with` block.

        Args:
            work: bytes, at most those of the budget.
            deadline: reading of `time.monotonic`; infinity for none.

        Raises:
            ServingError: DEADLINE_EXCEEDED if they are not free before.
        """
        place = (work, threading.Event())
        with self._lock:
            self._waiting.append(place)
            self._let_in()
        place[1].wait(min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX))
        with self._lock:
            if place in self._waiting:
                self._waiting.remove(place)
                raise ServingError(Code.DEADLINE_EXCEEDED, "The request did not get its turn within its time limit")
        try:
            yield
        finally:
            with self._lock:
                self._free += work
                self._let_in()
            if work > _WORTH_GIVING_BACK:
                give_memory_back()

    def _fits(self, work: int) -> bool:
        return work <= self._free

    def _let_in(self) -> None:
        for place in list(self._waiting):
            work, let_in = place
            if self._fits(work):
                self._waiting.remove(place)
                self._free -= work
                let_in.set()


class Turns(WorkBudget):
    """Turns of requests. While a version is loaded, fewer of them run at once than there are processors.

    One processor is left to the loading, which else has a small share of them: each request takes as much as it does. A
    load that hangs holds nobody up: after two minutes it does not count any more.

    Args:
        processors: how many there are.
    """

    def __init__(self, processors: int) -> None:
        super().__init__(max(processors - 1, 1))
        self._loads: list[float] = []  # when they began

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Loads a version inside the `with` block."""
        begun = time.monotonic()
        with self._lock:
            self._loads.append(begun)
        try:
            yield
        finally:
            with self._lock:
                self._loads.remove(begun)
                self._let_in()

    def _fits(self, work: int) -> bool:
        return super()._fits(work) or all(time.monotonic() - begun > _LONGEST_LOAD for begun in self._loads)


def give_memory_back() -> None:
    """Has the C library give what it holds and nobody uses back to the system; does nothing where it cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
