"""Version folders of a model, policies that choose among them, and the state of each.

A base path holds one folder per version, named by an integer (`1`, `2`, `00000123`); TensorFlow Serving and the
embedded server take the largest and look again every second. Anything else in there is ignored.
"""

import dataclasses
import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from atrank_tf.paths import in_store
from atrank_tf.server.errors import Code, ServingError, kernel_text
from atrank_tf.stores import stored_files

_MAX_VERSION = 2**63 - 1
_MODEL = "saved_model.pb"

Content = tuple[int, int]
"""What tells the content of a version folder from another: when its `saved_model.pb` was written, and its length."""


@dataclasses.dataclass(frozen=True, order=True)
class Version:
    """Version folder of a model.

    Attributes:
        number: int. What the folder's name reads as: `00000123` is 123.
        path: str. The folder.
        stored: what an object store says of the folder's content; None on this machine.
    """

    number: int
    path: str
    stored: Content | None = dataclasses.field(default=None, compare=False)

    @property
    def content(self) -> Content | None:
        """Returns what tells the folder's content from another; None where it has no `saved_model.pb`."""
        if self.stored:
            return self.stored
        try:
            found = (Path(self.path) / _MODEL).stat()
        except OSError:
            return None
        # Not the inode: some network file systems make them up anew.
        return found.st_mtime_ns, found.st_size


def versions(base_path: str) -> list[Version]:
    """Returns the version folders under a base path, smallest number first; empty where there is no such folder.

    In an object store a folder is a version when its `saved_model.pb` is there, which an export writes last.

    Raises:
        ImportError: the package for such a store is not installed.
        OSError: the store does not answer, or refuses.
    """
    if in_store(base_path):
        found = ((name.split("/"), file) for name, file in stored_files(base_path).items())
        return sorted(
            Version(int(names[0]), f"{base_path.rstrip('/')}/{names[0]}", (file.written, file.size))
            for names, file in found
            if names[1:] == [_MODEL] and _is_number(names[0])
        )
    base = Path(base_path)
    if not base.is_dir():
        return []
    return sorted(
        Version(int(entry.name), str(entry)) for entry in base.iterdir() if _is_number(entry.name) and entry.is_dir()
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and int(name) <= _MAX_VERSION


def latest_version(base_path: str) -> Version | None:
    """Returns the version folder with the largest number, or None where there is none."""
    return max(versions(base_path), default=None)


@dataclasses.dataclass(frozen=True)
class Latest:
    """Policy that serves the largest version numbers.

    Attributes:
        num_versions: int. How many of them; as in TensorFlow Serving 0 is 1.
    """

    num_versions: int = 1

    def choose(self, present: Sequence[Version]) -> list[Version]:
        """Returns what to serve of the versions that are there; both lists are in ascending order."""
        return list(present[-max(self.num_versions, 1) :])


@dataclasses.dataclass(frozen=True)
class All:
    """Policy that serves every version."""

    def choose(self, present: Sequence[Version]) -> list[Version]:
        """Returns what to serve of the versions that are there; both lists are in ascending order."""
        return list(present)


@dataclasses.dataclass(frozen=True)
class Specific:
    """Policy that serves named versions, whatever newer ones there are.

    Attributes:
        versions: version numbers.
    """

    versions: frozenset[int]

    def choose(self, present: Sequence[Version]) -> list[Version]:
        """Returns what to serve of the versions that are there; both lists are in ascending order."""
        return [version for version in present if version.number in self.versions]


VersionPolicy = Latest | All | Specific

NEWEST = Latest()


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """State of one version, as the status call tells it.

    Attributes:
        version: int.
        state: `LOADING`, `AVAILABLE`, `UNLOADING` (its last calls are running) or `END` (unloaded, or failed to load).
        code: `Code.OK`, or why it failed to load.
        message: str. The reason in words, empty when all is well.
    """

    version: int
    state: str
    code: Code = Code.OK
    message: str = ""


def load_failed(version: int, error: Exception) -> VersionStatus:
    """Returns the status of a version that could not be loaded; clients read it, so it holds no Python stack."""
    if isinstance(error, ServingError):
        code, message = error.code, error.message
    elif isinstance(error, tf.errors.OpError):
        code, message = Code(error.error_code), kernel_text(error)
    else:
        code, message = Code.NOT_FOUND if isinstance(error, OSError) else Code.UNKNOWN, str(error)
    return VersionStatus(version, "END", code, message or type(error).__name__)


def without_folder(text: str, base_path: str) -> str:
    """Returns a text with every path under a base path shortened to what comes after it."""
    folders = {base_path.rstrip("/"), str(Path(base_path)), str(Path(base_path).resolve())} - {"", "."}
    for folder in sorted(folders, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(folder)}(?:/|(?![\w.-]))", "", text)
    return text


class FailedLoads:
    """Versions that failed to load: the same content is tried again so often, another one at once.

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
        """Notes that a version with this content failed just now."""
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
