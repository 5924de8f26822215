"""Functions that a test has workers do: other processes import them by name, as they import the package."""

import os
import pickle
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import chdir, contextmanager
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


class OtherMachines:
    """An engine whose items are done on two other machines in turn: what this one has in some folders is not there.

    Args:
        roots: the folders.
        disks: a folder for what the others have in theirs.

    Attributes:
        did: how many items each has done.
    """

    def __init__(self, roots: Sequence[Path], disks: Path) -> None:
        self._roots, self._disks = roots, disks
        self.did = [0, 0]

    def __call__(
        self, function: Callable[[Any], Any], items: Sequence[Any], shared: Path
    ) -> Generator[Any, None, None]:
        for number, item in enumerate(items):
            copied, one = pickle.loads(pickle.dumps((function, item)))
            with self._elsewhere(number % 2):
                found = copied(one)
            yield pickle.loads(pickle.dumps(found))

    def files(self, machine: int) -> list[Path]:
        """Returns what a machine has."""
        return [path for path in (self._disks / str(machine)).rglob("*") if path.is_file()]

    @contextmanager
    def _elsewhere(self, machine: int) -> Iterator[None]:
        self.did[machine] += 1
        home, other = self._disks / "home", self._disks / str(machine)
        home.mkdir(parents=True, exist_ok=True)
        other.mkdir(exist_ok=True)
        for number, root in enumerate(self._roots):
            root.rename(home / str(number))
            if (other / str(number)).exists():
                (other / str(number)).rename(root)
        try:
            yield
        finally:
            for number, root in enumerate(self._roots):
                if root.exists():
                    root.rename(other / str(number))
                (home / str(number)).rename(root)


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
