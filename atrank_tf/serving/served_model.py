"""A model by name: its newest version loaded, newer ones swapped in while it answers, a failing one left aside."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from absl import logging

from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.loader import LoadedModel
from atrank_tf.serving.loader import load as load_model
from atrank_tf.serving.versions import Version, latest_version, versions


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """What became of one version.

    Attributes:
      version: int.
      state: `LOADING`, `AVAILABLE` or `END` (unloaded, or failed to load).
      code: `Code.OK`, or why it failed to load.
      message: str. The reason in words, empty when all is well.
    """

    version: int
    state: str
    code: Code = Code.OK
    message: str = ""


class ServedModel:
    """Serves the newest version under a base path, as TensorFlow Serving's default policy `latest` does.

    `start` loads the newest version; from then on each `refresh` looks for another and swaps it in: the old one answers
    until the new one is loaded, and is closed when its last call has ended. Where the newest folder was deleted, the
    newest that is left takes over; where all were, the loaded one stays. Threads may use an object together.

    Args:
      name: of the model, in URLs.
      base_path: folder of version folders.
      labels: label -> version number. Defaults to none.
      load: loads a version folder. Defaults to `atrank_tf.serving.load`.
      max_retries: how often a version that failed to load is tried again. Defaults to 5, as in TensorFlow Serving.
      retry_seconds: wait before each of these. Defaults to 60, as in TensorFlow Serving.
      clock: seconds, never going back. Defaults to `time.monotonic`.
    """

    def __init__(
        self,
        name: str,
        base_path: str,
        *,
        labels: Mapping[str, int] | None = None,
        load: Callable[[str], LoadedModel] = load_model,
        max_retries: int = 5,
        retry_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._base_path = base_path
        self._labels = dict(labels or {})
        self._load = load
        self._max_retries = max_retries
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._refreshing = threading.Lock()
        self._lock = threading.Lock()  # guards what follows
        self._current: _Slot | None = None
        self._statuses: dict[int, VersionStatus] = {}
        self._failures: dict[int, _Failure] = {}

    def start(self) -> None:
        """Loads the newest version.

        Raises:
          FileNotFoundError: no version folder under the base path.
          ValueError: the newest version cannot be loaded; says which and why.
        """
        newest = latest_version(self._base_path)
        if newest is None:
            raise FileNotFoundError(
                f"Expected a folder of versions (integer names, such as {self._base_path}/1) for model {self.name!r}. "
                f"Received: no version in {self._base_path}."
            )
        if not self._swap_in(newest):
            message = self._statuses[newest.number].message
            raise ValueError(f"Version {newest.number} of model {self.name!r} cannot be loaded: {message}")

    def refresh(self) -> bool:
        """Looks at the base path once, and loads what is new there; returns whether the served version changed.

        Never raises for a version that cannot be loaded: that one is reported by `statuses` and in the log.
        """
        with self._refreshing:
            present = versions(self._base_path)
            self._forget({version.number for version in present})
            if not present or (self._current and self._current.number == present[-1].number):
                return False
            failure = self._failures.get(present[-1].number)
            if failure and (failure.times > self._max_retries or self._clock() < failure.retry_at):
                return False
            return self._swap_in(present[-1])

    @contextlib.contextmanager
    def lease(self, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, LoadedModel]]:
        """Gives the loaded version (its number and the model), which stays open inside the `with` block.

        Args:
          version: a version number; None for the newest.
          label: a label, instead of a version number.

        Raises:
          ServingError: NOT_FOUND if that version is not loaded, INVALID_ARGUMENT for an unknown label.
        """
        if label is not None:
            if label not in self._labels:
                raise ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
            version = self._labels[label]
        with self._lock:
            slot = self._current
            if slot is None or version not in (None, slot.number):
                raise not_found(self.name, version)
            slot.users += 1
        try:
            yield slot.number, slot.model
        finally:
            with self._lock:
                slot.users -= 1
                unused = slot.retired and not slot.users
            if unused:
                slot.model.close()

    def statuses(self) -> list[VersionStatus]:
        """What became of each version that was tried and is still there, newest first."""
        with self._lock:
            return sorted(self._statuses.values(), key=lambda status: -status.version)

    def close(self) -> None:
        """Stops serving; the model is closed when its last call has ended."""
        with self._lock:
            slot, self._current = self._current, None
        self._retire(slot)

    def _swap_in(self, version: Version) -> bool:
        self._set_status(VersionStatus(version.number, "LOADING"))
        try:
            model = self._load(version.path)
        except Exception as error:  # whatever is wrong with a new version must not end the old one's service
            self._fail(version, error)
            return False
        with self._lock:
            old, self._current = self._current, _Slot(version.number, model)
        self._set_status(VersionStatus(version.number, "AVAILABLE"))
        logging.info("Model %s: version %d is available.", self.name, version.number)
        self._retire(old)
        return True

    def _fail(self, version: Version, error: Exception) -> None:
        code = Code.NOT_FOUND if isinstance(error, OSError) else Code(getattr(error, "error_code", Code.UNKNOWN))
        message = str(error) or type(error).__name__
        times = self._failures[version.number].times + 1 if version.number in self._failures else 1
        self._failures[version.number] = _Failure(times, self._clock() + self._retry_seconds)
        self._set_status(VersionStatus(version.number, "END", code, message))
        logging.error("Model %s: version %d cannot be loaded: %s", self.name, version.number, message)

    def _retire(self, slot: "_Slot | None") -> None:
        if slot is None:
            return
        with self._lock:
            slot.retired = True
            unused = not slot.users
        self._set_status(VersionStatus(slot.number, "END"))
        if unused:
            slot.model.close()

    def _set_status(self, status: VersionStatus) -> None:
        with self._lock:
            self._statuses[status.version] = status

    def _forget(self, present: set[int]) -> None:
        # A folder that was deleted is gone from the status, and one that comes back under its number is tried afresh.
        with self._lock:
            kept = present | ({self._current.number} if self._current else set())
            self._statuses = {number: status for number, status in self._statuses.items() if number in kept}
            self._failures = {number: failure for number, failure in self._failures.items() if number in kept}


@dataclasses.dataclass
class _Slot:
    """A loaded version and how many calls use it; all changes under the lock of its `ServedModel`."""

    number: int
    model: LoadedModel
    users: int = 0
    retired: bool = False


@dataclasses.dataclass(frozen=True)
class _Failure:
    times: int
    retry_at: float


def not_found(model: str, version: int | None) -> ServingError:
    """The contract's error for a model, or a version of it, that is not loaded."""
    wanted = f"Latest({model})" if version is None else f"Specific({model}, {version})"
    return ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
