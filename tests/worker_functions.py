"""Functions that a test has workers do: other processes import them by name, as they import the package."""

import os
import pickle
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any


def contrary(function: Callable[[Any], Any], items: Sequence[Any], shared: Path) -> Generator[Any, None, None]:
    """An engine that does everything that one may do: the last item first, each twice, by copies, in another folder."""
    results: dict[int, Any] = {}
    for number in reversed(range(len(items))):
        for _ in range(2):
            copied, item = pickle.loads(pickle.dumps((function, items[number])))
            with chdir("/"):
                results[number] = pickle.loads(pickle.dumps(copied(item)))
    yield from (results[number] for number in range(len(items)))


def process_id(_: Any) -> int:
    return os.getpid()


def process_id_later(_: Any) -> int:
    """Takes as long as others need to ask for work."""
    time.sleep(0.3)
    return os.getpid()


def die(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(mark: Path) -> int:
    """Kills its process, but for the second time; returns its process then."""
    if not mark.exists():
        mark.touch()
        die(mark)
    return os.getpid()


class DieOnce:
    """A function whose first call, wherever it is, kills the process in the middle of its work."""

    def __init__(self, function: Callable[[Any], Any], mark: Path) -> None:
        self.function, self.mark = function, mark

    def __call__(self, item: Any) -> Any:
        found = self.function(item)
        die_once(self.mark)
        return found
