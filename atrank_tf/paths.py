"""Paths that a person gives: which of them lie in an object store, and what a path means on another machine."""

import re
from pathlib import Path

STORES = ("gs",)
"""Schemes of the object stores that TensorFlow's wheel reads and writes."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def check_scheme(path: str, *, stores: bool = False) -> None:
    """Refuses a path in an object store, which would else be taken for a folder of that name, as `gs:`.

    Args:
        path: a path, as a person gave it.
        stores: whether a path of `STORES` will do: all that is done with it goes through `tf.io.gfile`.

    Raises:
        ValueError: the path has a scheme that is not known here.
    """
    found = _SCHEME.match(path)
    if not found or (stores and found[1] in STORES):
        return
    beside = "".join(f", or {scheme}://" for scheme in STORES) if stores else ""
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
