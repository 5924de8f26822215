"""Files and folders in object stores, copied to this machine and back: by s3fs for s3://, by gcsfs for gs://.

Credentials are those of each store's usual places, and both packages try again for about half a minute when a store
does not answer. Nothing here needs a rename, which stores do not have: what makes a folder whole is written last.
"""

import errno
import importlib
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from atrank_tf.paths import belongs_to_another, in_store
from atrank_tf.progress import progress

_AT_ONCE = 8
"""Files that are on their way at a time."""
_PROBE = ".atrank_tf"
"""Name of a file that is written and removed, to know whether that may be done."""
_ATTEMPTS = 8
"""How often S3 is asked, after waits that grow to 20 seconds; by itself its package gives up after some seconds."""
_PACKAGES = {"s3": ("s3", "s3fs", "S3FileSystem"), "gs": ("gcs", "gcsfs.core", "GCSFileSystem")}
"""Scheme -> extra of this package, module and class."""
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile of ~/.aws, or the role of this machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, or the account of this machine",
}
_LIBRARIES = ("aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs", "urllib3")
"""Packages whose own errors are about a store."""


class StoredFile(NamedTuple):
    """What a store says of a file: its length in bytes, and when it was written, in nanoseconds of Unix time."""

    size: int
    written: int


def stored_files(url: str) -> dict[str, StoredFile]:
    """Returns the files of a folder in a store by their names below it, at any depth; "" is a file at `url` itself.

    Raises:
        ImportError: the package for such a store is not installed.
        OSError: the store cannot be read; one line says why.
    """
    system, root = _system(url), _key(url)
    with _told(url):
        found = system.find(root, detail=True)
    files = {}
    for key, info in found.items():
        name = key.removeprefix(root).lstrip("/")
        if info["type"] == "file" and not key.endswith("/") and name != _PROBE:
            written = info["LastModified"] if "LastModified" in info else info["mtime"]
            files[name] = StoredFile(info["size"], round(written.timestamp() * 1e6) * 1000)
    return files


def stored_folders(url: str) -> list[str]:
    """Returns the names of what is directly below a folder of a store.

    What raises: see `stored_files`.
    """
    with _told(url):
        try:
            return [key.rstrip("/").rpartition("/")[2] for key in _system(url).ls(_key(url), detail=False)]
        except FileNotFoundError:
            return []


def fetch_files(files: Mapping[Path, str]) -> None:
    """Copies files of a store to paths of this machine, each whole or not at all, maybe beside other processes.

    Args:
        files: path -> URL.

    Raises:
        ImportError: the package for such a store is not installed.
        OSError: the store cannot be read; one line says why.
    """

    def fetch(path: Path, url: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
        with _told(url):
            _system(url).get_file(_key(url), str(partial))
        partial.rename(path)

    _each_file(fetch, files)


def put_files(files: Mapping[Path, str]) -> None:
    """Copies files of this machine into a store.

    Args:
        files: path -> URL.

    What raises: see `fetch_files`.
    """

    def put(path: Path, url: str) -> None:
        with _told(url):
            _system(url).put_file(str(path), _key(url))

    _each_file(put, files)


def remove_stored(url: str) -> None:
    """Removes all files below a folder of a store.

    What raises: see `fetch_files`.
    """
    names = list(stored_files(url))
    system = _system(url)
    with _told(url), ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda name: system.rm_file(f"{_key(url)}/{name}" if name else _key(url)), names))


def _each_file(do: Callable[[Path, str], None], files: Mapping[Path, str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(do, files.keys(), files.values()))


class StoreCopy:
    """A copy of a file or folder of a store on this machine, of which what changes here can be written back.

    Args:
        url: a file or a folder, which need not be there.
        folder: an existing folder for the copy.
        contents: pattern of the names of the files whose content is copied; the others are empty in the copy. Defaults
            to all.
        writable: whether to find out first if `url` may be written.

    Attributes:
        url: the file or folder in the store.
        path: the copy; there is none where the store has nothing.
        root: the folder that it is in, at `<scheme>/<bucket>/...`.

    Raises:
        ImportError: the package for such a store is not installed.
        OSError: the store cannot be read, or written; one line says why.
    """

    def __init__(self, url: str, folder: Path, *, contents: str = ".*", writable: bool = False) -> None:
        self.url = url.rstrip("/")
        self._system, self._root = _system(url), _key(url)
        self.root, self.path = folder, folder / self.url.replace("://", "/")
        self.path.parent.mkdir(parents=True)
        found = stored_files(self.url)
        if writable:
            with _told(self.url):
                self._system.pipe_file(f"{self._root}/{_PROBE}", b"")
                self._system.rm_file(f"{self._root}/{_PROBE}")
        for name in found:
            place = self._place(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        wanted = [name for name in found if re.fullmatch(contents, name)]
        self._each("fetching", wanted, lambda name: self._system.get_file(self._key(name), str(self._place(name))))
        for name, file in found.items():
            os.utime(self._place(name), ns=(file.written, file.written))
        self._known = self._states()

    def put(self, *, last: Sequence[str] = (), unfinished: bytes = b"") -> None:
        """Writes back what has changed since the copy was made or put, and removes what is gone.

        Args:
            last: ends of the names of files that are written after all others, in this order. What is gone is removed
                before the last of them.
            unfinished: what that file holds until then; b"" leaves it as it was.

        Raises:
            OSError: the store cannot be written; one line says why.
        """
        now = self._states()
        changed = [name for name, state in now.items() if self._known.get(name) != state]
        gone = [name for name in self._known if name not in now]
        if unfinished and (changed or gone):
            with _told(self.url):
                self._system.pipe_file(self._key(last[-1]), unfinished)
        ordered = [[name for name in changed if name.endswith(end)] for end in last]
        self._write(set(changed).difference(*ordered))
        for names in ordered[:-1]:
            self._write(names)
        self._each("removing", gone, lambda name: self._system.rm_file(self._key(name)))
        for names in ordered[-1:]:
            self._write(names)
        self._known = now

    def _write(self, names: Iterable[str]) -> None:
        self._each(
            "writing", sorted(names), lambda name: self._system.put_file(str(self._place(name)), self._key(name))
        )

    def _each(self, title: str, names: Sequence[str], do: Callable[[str], Any]) -> None:
        """Does something with several files at a time, and shows how many are done."""
        with (
            _told(self.url),
            progress(f"{title} {self.url}", "files", len(names)) as shown,
            ThreadPoolExecutor(_AT_ONCE) as pool,
        ):
            for _ in pool.map(do, names):
                shown.update(1)

    def _states(self) -> dict[str, tuple[int, int]]:
        files = [self.path] if self.path.is_file() else [path for path in self.path.rglob("*") if path.is_file()]
        names = {path.relative_to(self.path).as_posix() if path != self.path else "": path.stat() for path in files}
        return {name: (state.st_size, state.st_mtime_ns) for name, state in names.items()}

    def _place(self, name: str) -> Path:
        return self.path / name if name else self.path

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Gives a path on this machine with what is at a path: a copy of what is in a store, which goes after the block.

    What raises: see `StoreCopy`.
    """
    if not in_store(path):
        yield path
        return
    with temporary_folder() as folder:
        yield str(StoreCopy(path, folder).path)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Gives a folder in that of `TMPDIR`, which goes after the block, as does what killed processes left there."""
    parent, stem = Path(tempfile.gettempdir()), f"atrank_tf-{socket.gethostname()}-"
    for left in parent.glob(f"{stem}*"):
        pid = left.name.removeprefix(stem).partition("-")[0]
        if pid != str(os.getpid()) and not belongs_to_another(pid):
            shutil.rmtree(left, ignore_errors=True)
    folder = parent / f"{stem}{os.getpid()}-{uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _key(url: str) -> str:
    return url.partition("://")[2].rstrip("/")


def _system(url: str) -> Any:
    scheme = url.partition("://")[0]
    extra, module, name = _PACKAGES[scheme]
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # Its errors are raised, and would be on the log as well.
    try:
        system = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ImportError(f"{url} needs a package that is not installed: pip install 'atrank-tf[{extra}]'.") from error
    retries = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
    settings = {"config_kwargs": {"retries": retries}} if scheme == "s3" else {}
    return system(use_listings_cache=False, **settings)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turns what the packages raise, of many kinds, into one line about the store."""
    try:
        yield
    except Exception as error:
        ours = isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _LIBRARIES
        if not ours or getattr(error, "filename", None):  # A bug, or a file of this machine.
            raise
        raise _one_line(url, error) from error


def _one_line(url: str, error: Exception) -> OSError:
    scheme, said = url.partition("://")[0], str(error).rstrip(".") or type(error).__name__
    if "Credential" in type(error).__name__ or getattr(error, "code", 0) in (401, "401"):
        return PermissionError(f"Expected credentials for {url}: {_CREDENTIALS[scheme]}. Found none. {said}.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(f"Expected room in {tempfile.gettempdir()} for {url}. {said}. TMPDIR names another folder.")
    if isinstance(error, FileNotFoundError):
        bucket = "/".join(url.split("/")[:3])
        return FileNotFoundError(f"Expected a bucket {bucket}, for {url}. The store knows none: {said}.")
    if isinstance(error, PermissionError) or said.startswith("Forbidden"):
        return PermissionError(f"Expected the right to read and write {url}. The store refuses: {said}.")
    return ConnectionError(
        f"Expected a store that answers, for {url}. {type(error).__name__}: {said}. Run the same command again when it "
        "does."
    )
