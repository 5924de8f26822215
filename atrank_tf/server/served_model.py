"""Model with versions that are swapped while it answers, by a policy; those that fail to load are left out."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from absl import logging

from atrank_tf.server.config_files import ModelConfig
from atrank_tf.server.errors import not_found, unknown_label
from atrank_tf.server.loader import LoadedModel
from atrank_tf.server.loader import load as load_model
from atrank_tf.server.versions import (
    NEWEST,
    Content,
    FailedLoads,
    Version,
    VersionPolicy,
    VersionStatus,
    load_failed,
    versions,
    without_folder,
)
from atrank_tf.stores import local_copy


class ServedModel:
    """Serves versions under a base path, by default the newest.

    `start` loads them; from then on each `refresh` looks for others and swaps them in: what was loaded answers until
    something new is loaded, and is closed when its last call has ended. A version whose folder holds another model than
    the loaded one is a new one too. Where no version is there that the policy asks for, or none can be loaded, what was
    loaded stays. Threads may use an object together.

    Attributes:
        while_loading: makes the context in which a version is loaded. Defaults to none.

    Args:
        name: of the model, in URLs.
        base_path: folder of version folders; in an object store, a version is copied here while it is loaded.
        policy: which of them are served. Defaults to the newest.
        labels: label -> version number. Defaults to none.
        any_label: a new label may point to a version that is not available. Defaults to False.
        load: loads a version folder. Defaults to `atrank_tf.server.load`.
        max_retries: how often a version that failed to load is tried again. Defaults to 5, as in TensorFlow Serving.
        retry_seconds: wait before each of these. Defaults to 60, as in TensorFlow Serving.
        clock: seconds, never going back. Defaults to `time.monotonic`.
    """

    def __init__(
        self,
        name: str,
        base_path: str,
        *,
        policy: VersionPolicy = NEWEST,
        labels: Mapping[str, int] | None = None,
        any_label: bool = False,
        load: Callable[[str], LoadedModel] = load_model,
        max_retries: int = 5,
        retry_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.while_loading: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        self._config = self._next_config = ModelConfig(name, base_path, policy, dict(labels or {}))
        self._problems: list[str] = []  # what is wrong since the last look
        self._tells = False  # what is wrong at the start is raised
        self._closed = False
        self._any_label = any_label
        self._load = load
        self._refreshing = threading.Lock()  # one `refresh` at a time
        self._lock = threading.Lock()  # guards what follows
        self._slots: dict[int, _Slot] = {}
        self._wanted: set[int] = set()  # what of them the policy asks for
        self._labels: dict[str, int] = {}  # those that a request may use
        self._statuses: dict[int, VersionStatus] = {}
        self._failed = FailedLoads(max_retries, retry_seconds, clock)
        self._reasons: dict[int, str] = {}  # why versions could not be loaded, with paths, for who starts the server

    def start(self) -> None:
        """Loads what the policy asks for.

        Raises:
            FileNotFoundError: no such version folder under the base path.
            ValueError: none of the versions can be loaded, or a label points to one that is not available.
        """
        config = self._config
        present = versions(config.base_path)
        if not config.policy.choose(present):
            raise FileNotFoundError(
                f"Expected a folder of versions (integer names, such as {config.base_path}/1: an export_dir) for model "
                f"{self.name!r} and {config.policy}. Received: "
                f"{[version.number for version in present] or 'no version'} in {config.base_path}."
            )
        self.refresh()
        self._tells = True
        if not self._slots:
            raise ValueError(
                " ".join(
                    f"Version {version} of model {self.name!r} cannot be loaded: {reason}"
                    for version, reason in sorted(self._reasons.items(), reverse=True)
                )
            )
        if self._problems:
            raise ValueError(self._problems[0])

    def configure(self, config: ModelConfig) -> None:
        """Takes another base path, policy and labels, and refreshes."""
        self.follow(config)
        self.refresh()

    def follow(self, config: ModelConfig) -> None:
        """Takes another base path, policy and labels, which the next `refresh` follows; never waits."""
        self._next_config, self._tells = config, True

    def refresh(self) -> bool:
        """Looks at the base path once, and loads what is new there; returns whether the served versions changed.

        A label moves when its new version is loaded, and before its old one is closed. One that points to a version
        that is not available stays where it was, and the log says so. Never raises for a version that cannot be loaded:
        that one is reported by `statuses` and in the log.
        """
        with self._refreshing:
            before = dict(self._slots)
            self._config = self._next_config
            problems = self._look()
            for problem in set(problems) - set(self._problems):
                if self._tells:
                    logging.error("%s", problem)
            self._problems = problems
            return self._slots != before

    def _look(self) -> list[str]:
        """Loads what is new, moves labels, retires what is not wanted; returns what is wrong now."""
        wanted = self._load_new()
        problems = self._assign_labels()
        self._retire_others(wanted)
        if not self._slots:
            problems.append(f"Model {self.name}: no version is served from {self._config.base_path}.")
        return problems

    @contextlib.contextmanager
    def lease(self, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, LoadedModel]]:
        """Gives a loaded version (its number and the model), which stays open inside the `with` block.

        Args:
            version: a version number; None for the newest.
            label: a label, instead of a version number.

        Raises:
            ServingError: NOT_FOUND if that version is not loaded, INVALID_ARGUMENT for an unknown label.
        """
        with self._lock:
            if label is not None:
                if label not in self._labels:
                    raise unknown_label(label)
                version = self._labels[label]
            newest = max(self._wanted & self._slots.keys() or self._slots, default=-1)
            slot = self._slots.get(newest if version is None else version)
            if slot is None:
                raise not_found(self.name, version)
            slot.users += 1
        try:
            yield slot.number, slot.model
        finally:
            with self._lock:
                slot.users -= 1
                unused = slot.retired and not slot.users
            if unused:
                self._unload(slot)

    def statuses(self) -> list[VersionStatus]:
        """Returns the state of each version that was tried and is still there, newest first."""
        with self._lock:
            return sorted(self._statuses.values(), key=lambda status: -status.version)

    def close(self) -> None:
        """Stops serving; each version is closed when its last call has ended, or its loading."""
        with self._lock:
            self._closed = True
        for number in list(self._slots):
            self._retire(number)

    def _load_new(self) -> set[int]:
        """Loads what the policy asks for and is not loaded; returns the numbers that it asks for."""
        present = versions(self._config.base_path)
        self._forget({version.number for version in present})
        wanted = self._config.policy.choose(present)
        for version in reversed(wanted):
            content, slot = version.content, self._slots.get(version.number)
            if self._is_due(version.number, content):
                self._swap_in(version, content)
            elif slot and slot.content == content and self._failed.forget(version.number):
                self._set_status(VersionStatus(version.number, "AVAILABLE"))  # another one came, and has gone again
        return {version.number for version in wanted}

    def _is_due(self, number: int, content: Content | None) -> bool:
        slot = self._slots.get(number)
        return not (slot and content in (None, slot.content)) and self._failed.is_due(number, content)

    def _swap_in(self, version: Version, content: Content | None) -> None:
        before = self._slots.get(version.number)
        if not before:
            self._set_status(VersionStatus(version.number, "LOADING"))
        folder = version.path
        try:
            with local_copy(version.path) as folder, self.while_loading():
                model = self._load(folder)
        except Exception as error:  # whatever is wrong with a new version must not end the old one's service
            status = load_failed(version.number, error)
            self._fail(dataclasses.replace(status, message=status.message.replace(folder, version.path)), content)
            return
        with self._lock:
            if not self._closed:
                self._slots[version.number] = _Slot(version.number, model, content)
        if self._closed:
            model.close()
            return
        self._failed.forget(version.number)
        self._set_status(VersionStatus(version.number, "AVAILABLE"))
        logging.info("Model %s: version %d is available.", self.name, version.number)
        if before:
            self._close(before)

    def _fail(self, status: VersionStatus, content: Content | None) -> None:
        number = status.version
        logging.error("Model %s: version %d cannot be loaded: %s", self.name, number, status.message)
        self._reasons[number] = status.message
        # Where this machine keeps its files is no business of clients.
        status = dataclasses.replace(status, message=without_folder(status.message, self._config.base_path))
        if number in self._slots:
            message = f"The folder holds another model by now, which cannot be loaded: {status.message}"
            status = dataclasses.replace(status, state="AVAILABLE", message=message)
        self._failed.add(number, content)
        self._set_status(status)

    def _retire_others(self, wanted: set[int]) -> None:
        """Retires what the policy does not ask for, if something is there that it does ask for.

        A version stays for a label that could not move on from it.
        """
        with self._lock:
            self._wanted = wanted & set(self._slots)
            left = {number for label, number in self._labels.items() if self._config.labels[label] != number}
        if self._wanted:
            for number in set(self._slots) - wanted - left:
                self._retire(number)

    def _retire(self, number: int) -> None:
        with self._lock:
            slot = self._slots.pop(number)
        self._set_status(VersionStatus(number, "UNLOADING"))
        self._close(slot)

    def _close(self, slot: "_Slot") -> None:
        """Closes a version that no new call gets, now or when its last call has ended."""
        with self._lock:
            slot.retired = True
            unused = not slot.users
        if unused:
            self._unload(slot)

    def _unload(self, slot: "_Slot") -> None:
        slot.model.close()
        with self._lock:
            if slot.number not in self._slots:  # else it was loaded anew meanwhile
                self._statuses[slot.number] = VersionStatus(slot.number, "END")

    def _assign_labels(self) -> list[str]:
        """Points the labels to their versions, as far as these are available; says which are not."""
        labels: dict[str, int] = {}
        problems = []
        with self._lock:
            for label, number in self._config.labels.items():
                known = self._labels.get(label, number)
                if number in self._slots or (self._any_label and known == number):
                    labels[label] = number
                    continue
                problems.append(
                    f"Request to assign label {label!r} to version {number} of model {self.name!r}, which is not "
                    f"available. Available: {sorted(self._slots)}."
                )
                if label in self._labels:
                    labels[label] = known
            self._labels = labels
        return problems

    def _set_status(self, status: VersionStatus) -> None:
        with self._lock:
            self._statuses[status.version] = status

    def _forget(self, present: set[int]) -> None:
        # A folder that was deleted is gone from the status, and one that comes back under its number is tried afresh.
        with self._lock:
            kept = present | set(self._slots)
            self._statuses = {number: status for number, status in self._statuses.items() if number in kept}
        self._failed.keep(kept)


@dataclasses.dataclass(eq=False)
class _Slot:
    """A loaded version and how many calls use it; all changes under the lock of its `ServedModel`."""

    number: int
    model: LoadedModel
    content: Content | None
    users: int = 0
    retired: bool = False
