"""Engine of this machine: this process, or several others."""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # A process that is started imports no more than what it is asked for.
    from atrank_tf.preparation.engine import Engine

T = TypeVar("T")
R = TypeVar("R")
_MOST_DEATHS = 3
"""So many processes may be lost over one item before it counts as what they die of."""
_START = "import sys; from atrank_tf.preparation.local_engine import answer; answer(int(sys.argv[1]))"


@contextmanager
def local_engine(processes: int = 1) -> Iterator["Engine"]:
    """Gives an engine of this machine.

    Args:
        processes: how many processes do the items; 1 is this one. Each holds a shard, the ids of all catalogs, and
            TensorFlow.

    Raises:
        ValueError: there are none.
    """
    if processes < 1:
        raise ValueError(f"processes must be positive. Received: processes={processes}.")
    pool = _Pool(processes)
    try:
        yield pool.run
    finally:
        pool.close()


class _Pool:
    """Processes that are started when there is work, and again when one is lost."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._lock, self._closed = Lock(), False
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []

    def run(self, function: Callable[[T], R], items: Sequence[T], shared: Path) -> Generator[R, None, None]:
        if self._processes == 1:
            yield from map(function, items)
            return
        threads = ThreadPoolExecutor(self._processes)
        try:
            yield from threads.map(lambda item: self._ask(function, item), items)
        except BaseException:  # Nobody waits for the others.
            self.close()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.end()

    def _ask(self, function: Callable[[Any], Any], item: Any) -> Any:
        ended = 0
        for _ in range(_MOST_DEATHS):
            with self._lock:
                if self._closed:
                    break
                worker = self._idle.pop() if self._idle else self._start()
            try:
                found, bug = worker.ask(function, item)
            except (EOFError, OSError):
                ended = worker.end()
                continue
            with self._lock:
                self._idle.append(worker)
            if bug:
                raise RuntimeError(f"A process that prepare started has failed:\n{bug}")
            return found
        raise ChildProcessError(
            f"Processes that prepare started were lost {_MOST_DEATHS} times at the same work, the last with exit code "
            f"{ended}. -9 mostly means too little memory: more --shards need less at a time."
        )

    def _start(self) -> "_Worker":
        worker = _Worker(max(1, len(os.sched_getaffinity(0)) // self._processes))
        self._all.append(worker)
        return worker


class _Worker:
    """A process that answers; not of `multiprocessing`, which would import the script again that called prepare."""

    def __init__(self, threads: int) -> None:
        number = str(threads)
        own = {"POLARS_MAX_THREADS": number, "TF_NUM_INTRAOP_THREADS": number, "TF_NUM_INTEROP_THREADS": number}
        own |= {"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"), "CUDA_VISIBLE_DEVICES": "-1"}
        own["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | own,
            )
        self._function: Callable[[Any], Any] | None = None

    def ask(self, function: Callable[[Any], Any], item: Any) -> tuple[Any, str]:
        """Returns the result, and the traceback of a bug or "".

        Raises:
            EOFError: the process is gone; or an OSError.
        """
        self._connection.send((None if function is self._function else function, item))
        self._function = function
        answer: tuple[Any, str] = self._connection.recv()
        return answer

    def end(self) -> int:
        """Ends the process, and returns its exit code."""
        self._process.kill()
        return self._process.wait()


def answer(descriptor: int) -> None:
    """Does what it is asked for, in a process of `_Worker`, until whoever asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Whoever started it ends it.
    function: Callable[[Any], Any] | None = None
    with Connection(descriptor) as connection:
        while True:
            try:
                new, item = connection.recv()
            except EOFError:
                return
            function = new or function
            try:
                found = (function(item), "")  # type: ignore[misc]
            except Exception:
                found = (None, traceback.format_exc())
            connection.send(found)
