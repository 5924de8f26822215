"""Engines: run a function on many items, in this process or on many machines, and know nothing of prepare.

All that touches every row is a function of a piece of a file or of a shard (`atrank_tf.preparation.passes`). So an
engine is a few lines (`atrank_tf.preparation.clusters`), and records do not depend on it.
"""

import platform
import re
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pkgutil import get_data
from typing import Any, Protocol, TypeVar

import polars as pl
import tensorflow as tf

from atrank_tf.progress import progress
from atrank_tf.version import __version__

T = TypeVar("T")
R = TypeVar("R")
_PACKAGE = "atrank_tf"
ASKED = 16
"""How often workers are asked what they are: more often than a small cluster has workers."""


class Engine(Protocol):
    """Protocol of what runs a function on many items."""

    def __call__(self, function: Callable[[T], R], items: Sequence[T], shared: Path) -> Generator[R, None, None]:
        """Yields the results in the order of the items, each as soon as it and those before it are there.

        When a worker is lost, others do its items again; an item may even be done twice at a time. So what a function
        does must be the same whenever it is done: it writes whole files, and changes none that another item reads.

        Args:
            function: can be pickled, as can items and results.
            items: what it is called with.
            shared: a folder that all workers see under the same path.
        """


@dataclass(frozen=True)
class _Failure:
    error: Exception


@dataclass(frozen=True)
class _Guarded:
    """Returns an error that tells a person what to do as a value: an engine would try again, and bury it in its own."""

    function: Callable[[Any], Any]
    version: str = __version__
    host: str = field(default_factory=socket.gethostname)

    def __call__(self, item: Any) -> Any:
        host = socket.gethostname()
        if self.version != __version__:
            return _Failure(ValueError(_other_version(self.version, __version__, host)))
        try:
            return self.function(item)
        except (ValueError, tf.errors.OpError) as error:
            return _Failure(error)
        except OSError as error:
            return _Failure(error if host == self.host else OSError(f"{error} (on {host})"))


def run_all(
    engine: Engine, function: Callable[[T], R], items: Sequence[T], shared: Path, title: str, unit: str
) -> Iterator[R]:
    """Yields the results of a function in the order of the items, and shows how many are there.

    Args:
        engine: what runs it.
        function: as `Engine` has it.
        items: what it is called with.
        shared: a folder that all workers see.
        title: what is done.
        unit: what the items are, in the plural.

    Raises:
        ValueError: raised by the function, on whatever machine; or a worker has another version of the package.
        OSError: raised by the function.
    """
    with progress(title, unit, len(items)) as shown, closing(engine(_Guarded(function), items, shared)) as results:
        for result in results:
            if isinstance(result, _Failure):
                raise result.error
            yield result
            shown.update(1)


def check_workers(engine: Engine, shared: Path) -> None:
    """Asks workers what they are, more often than there are workers in a small cluster.

    Raises:
        ValueError: a worker has no atrank_tf or another version of it, another Python or Polars, or does not see the
            shared folder.
    """
    # By a function of Python's own, which can be called where the package is another one, or none.
    asked: list[str] = ["version.py"] * ASKED
    for found in engine(partial(get_data, _PACKAGE), asked, shared):
        version = re.search(r'__version__ = "(.+)"', (found or b"").decode())
        if version is None or version[1] != __version__:
            raise ValueError(_other_version(__version__, version[1] if version else "none", "a worker"))
    here = _Look(shared)
    for wrong in engine(here, range(ASKED), shared):
        if wrong:
            raise ValueError(wrong)


class _Look:
    """Looks whether a worker can do what the launching process would ask of it; returns what is wrong, or ""."""

    def __init__(self, shared: Path) -> None:
        self._shared, self._versions = shared, _versions()

    def __call__(self, _: int) -> str:
        host = socket.gethostname()
        for name, found in _versions().items():
            if found != (own := self._versions[name]):
                return f"Expected {name} {own} on every worker, as in the launching process. Found {found} on {host}."
        if not self._shared.is_dir():
            return (
                f"Expected that every worker sees the folder of the records. On {host} there is no {self._shared}. "
                "Write the records into a folder that all machines share, under one path, or into a bucket: s3://, "
                "gs://. With Beam, TMPDIR must then be such a folder."
            )
        return ""


def _versions() -> dict[str, str]:
    # What travels is pickled: code for this Python, and lazy frames for this Polars.
    return {"Python": ".".join(platform.python_version_tuple()[:2]), "Polars": pl.__version__}


def _other_version(own: str, found: str, host: str) -> str:
    return (
        f"Expected {_PACKAGE} {own} on every worker, as in the launching process. Found {found} on {host}. "
        "Install the same version there."
    )
