"""Which versions failed to load, and when each is tried again."""

from collections.abc import Callable, Container
from typing import NamedTuple

from atrank_tf.server.versions import Content


class FailedLoads:
    """Remembers what failed to load: the same content of a version is tried again so often, another one at once.

    Args:
      max_retries: how often the same content is tried again.
      retry_seconds: wait before each of these.
      clock: seconds, never going back.
    """

    def __init__(self, max_retries: int, retry_seconds: float, clock: Callable[[], float]) -> None:
        self._max_retries = max_retries
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._failures: dict[int, _Failure] = {}

    def add(self, number: int, content: Content | None) -> None:
        """A version with this content failed just now."""
        failure = self._failures.get(number)
        times = failure.times + 1 if failure and failure.content == content else 1
        self._failures[number] = _Failure(times, self._clock() + self._retry_seconds, content)

    def is_due(self, number: int, content: Content | None) -> bool:
        """Returns whether a version with this content should be tried."""
        failure = self._failures.get(number)
        if failure is None or failure.content != content:
            return True
        return failure.times <= self._max_retries and self._clock() >= failure.retry_at

    def forget(self, number: int) -> bool:
        """Forgets a version; returns whether it had failed."""
        return self._failures.pop(number, None) is not None

    def keep(self, numbers: Container[int]) -> None:
        """Forgets all versions but these."""
        self._failures = {number: failure for number, failure in self._failures.items() if number in numbers}


class _Failure(NamedTuple):
    times: int
    retry_at: float
    content: Content | None
