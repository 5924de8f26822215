"""Paths that a person gives: which of them lie in an object store, and what a path means on another machine."""

import os
import re
from pathlib import Path

STORES = ("s3", "gs")
"""Schemes of the object stores that `atrank_tf.stores` copies from and to."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def in_store(path: str) -> bool:
    """Returns whether a path lies in one of `STORES`."""
    found = _SCHEME.match(path)
    return found is not None and found[1] in STORES


def check_scheme(path: str, *, stores: bool = False) -> None:
    """Refuses a path in an object store, which would else be taken for a folder of that name, as `gs:`.

    Args:
        path: a path, as a person gave it.
        stores: whether a path of `STORES` will do.

    Raises:
        ValueError: the path has a scheme that is not known here.
    """
    if not _SCHEME.match(path) or (stores and in_store(path)):
        return
    beside = f", {'://, '.join(STORES[:-1])}:// or {STORES[-1]}://" if stores else ""
    raise ValueError(
        f"Expected a path of a file system{beside}. Received: {path}. Mount the store, and give the path "
        "where it is mounted."
    )


def local_path(path: str) -> Path:
    """Returns an absolute path of a file system, which means the same in every working directory.

    Raises:
        ValueError: the path is in an object store.
    """
    check_scheme(path)
    return Path(path).absolute()


def belongs_to_another(pid: str) -> bool:
    """Returns whether what a process named after its id is of another one, which runs on this machine."""
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
