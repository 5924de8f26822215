"""Lets workers who share no folder share files through an object store.

A copy of what is in a store is named after its place there: below a folder R, R/s3/shop/logs/a.parquet is a copy of
s3://shop/logs/a.parquet. So on every machine a path below R says where its file is in the store. What an item reads is
fetched before it is done, and what it writes is put there afterwards.
"""

import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from atrank_tf.paths import belongs_to_another
from atrank_tf.preparation.engine import ASKED, Engine
from atrank_tf.preparation.staging import Files
from atrank_tf.stores import fetch_files, put_files, remove_stored, stored_files, stored_folders

T = TypeVar("T")
R = TypeVar("R")
_HOME = ".launching-process"
"""Marks the folder of the launching process, which a worker on its machine leaves alone."""
_ANYWHERE = Path("/")
"""A folder that every machine has, for an engine that looks for a shared one."""
_OF_WORKERS = ("staging/shards/*", "staging/counts/[0-9]*")
"""What only workers read, below the folder of the records."""


@contextmanager
def through_stores(engine: Engine, roots: Sequence[Path]) -> Iterator[Engine]:
    """Gives an engine whose workers need not see what is below some folders of this machine.

    What it runs are the passes of prepare, which say what they read and write; `shared` is in the folder that prepare
    writes. In the store that folder has the same name, and is removed when the block ends; if the launching process is
    killed, by the next one on its machine.

    Args:
        engine: an engine that needs no shared folder itself.
        roots: folders of copies, as `StoreCopy` makes them; what is in them now is in the store.

    Raises:
        OSError: the store cannot be read or written, by this process or by a worker; one line says why.
    """
    known = {path: _state(path) for root in roots for path in _files(root)}
    written: set[str] = set()
    for root in roots:
        (root / _HOME).touch()

    def run(function: Callable[[T], R], items: Sequence[T], shared: Path) -> Generator[R, None, None]:
        folder = shared.parent
        base = _url(folder, roots)  # "" where the records are no copy: then all see them, and fetch logs alone.
        if base and base not in written:
            written.add(base)
            _remove_left(base)
        new = {path: state for root in roots for path in _files(root) if known.get(path) != (state := _state(path))}
        put_files({path: _url(path, roots) for path in new})
        known.update(new)
        guarded: Any = function
        exchanging = replace(guarded, function=_Exchanging(guarded.function, tuple(roots)))
        yield from engine(exchanging, items, _ANYWHERE if base else shared)
        if not base:
            return
        names = [name for name in stored_files(base) if not any(fnmatchcase(name, own) for own in _OF_WORKERS)]
        found = {folder / name: f"{base}/{name}" for name in names if not (folder / name).exists()}
        fetch_files(found)
        known.update({path: _state(path) for path in found})

    try:
        yield run
    finally:
        for base in written:
            remove_stored(base)
    for _ in engine(_Leave(tuple(roots)), range(ASKED), _ANYWHERE):  # Not after an error: there may be no worker.
        pass


@dataclass(frozen=True)
class _Exchanging:
    """A pass, with what it reads fetched first and what it writes put into the store.

    Args:
        function: has `reads` and `writes`: functions of an item -> `Files`.
        roots: folders of copies.
        run: of the pass. In it a process asks once what is in a folder of the store.
    """

    function: Any
    roots: tuple[Path, ...]
    run: str = field(default_factory=lambda: uuid4().hex)

    def __call__(self, item: Any) -> Any:
        try:
            found = [path for files in self.function.reads(item) for path in self._stored(files)]
            fetch_files({path: _url(path, self.roots) for path in found if not path.exists()})
            written = [files for files in self.function.writes(item) if _url(files.path, self.roots)]
            for files in written:  # Folders that stand where the launching process is.
                files.path.parent.mkdir(parents=True, exist_ok=True)
            result = self.function(item)
            put_files({path: _url(path, self.roots) for files in written for path in _here(files)})
        except ImportError as error:  # Of the package for the store.
            raise OSError(str(error)) from error
        return result

    def _stored(self, files: Files) -> list[Path]:
        """Returns the paths of files that are in the store; none of what is in another folder."""
        url = _url(files.path, self.roots)
        if not url or not files.pattern:
            return [files.path] if url else []
        return [files.path / name for name in _names(url, self.run) if fnmatchcase(name, files.pattern)]


@dataclass(frozen=True)
class _Leave:
    """Removes what a worker has fetched and written."""

    roots: tuple[Path, ...]

    def __call__(self, _: int) -> None:
        for root in self.roots:
            if not (root / _HOME).exists():
                shutil.rmtree(root, ignore_errors=True)


@lru_cache(maxsize=16)
def _names(url: str, run: str) -> list[str]:
    del run
    return list(stored_files(url))


def _url(path: Path, roots: Sequence[Path]) -> str:
    """Returns where the file or folder of a path is in the store; "" where it is in none of the roots."""
    for root in roots:
        if path.is_relative_to(root) and len(parts := path.relative_to(root).parts) > 1:
            return f"{parts[0]}://{'/'.join(parts[1:])}"
    return ""


def _here(files: Files) -> list[Path]:
    """Returns the paths of files that are on this machine."""
    if not files.pattern:
        return [files.path] if files.path.exists() else []
    return [path for path in _files(files.path) if fnmatchcase(str(path.relative_to(files.path)), files.pattern)]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != _HOME]


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _remove_left(url: str) -> None:
    """Removes from the store what killed processes of this machine left, under names that end with their numbers."""
    parent, _, name = url.rpartition("/")
    stem = name.rpartition("-")[0] + "-"
    for left in stored_folders(parent):
        if left.startswith(stem) and not belongs_to_another(left.removeprefix(stem)):
            remove_stored(f"{parent}/{left}")
