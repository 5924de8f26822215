"""Files and folders that are written whole or not at all: aside, then renamed."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import tensorflow as tf

from atrank_tf.paths import belongs_to_another, local_path


@contextmanager
def whole_file(path: str | Path, *, concurrent: bool = False) -> Iterator[str]:
    """Gives a path to write; the file takes the place of `path` when the block ends, and is removed if the block fails.

    Whoever reads `path` finds the whole file, or what was there before. What a killed run left is overwritten by the
    next.

    Args:
        path: a file, on any file system that TensorFlow knows.
        concurrent: whether several processes may write this file at a time: each gets a path of its own, and one that
            is killed leaves it behind.
    """
    partial = f"{path}.{uuid4().hex}.partial" if concurrent else f"{path}.partial"
    try:
        yield partial
        tf.io.gfile.rename(partial, str(path), overwrite=True)
    finally:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.remove(partial)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file, in UTF-8, whole or not at all."""
    with whole_file(path) as partial, tf.io.gfile.GFile(partial, "w") as file:
        file.write(text)


@contextmanager
def whole_folder(path: str, replace: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Gives a folder to write; it becomes `path` when the block ends, and disappears if the block fails.

    Its path is absolute, so that workers with another working directory may write into it. It stands beside `path`,
    under a name of its own process, so that a killed run blocks nobody; what killed runs of this machine left is
    removed. If `path` is a link, its place is that of what it leads to.

    Args:
        path: the folder; those above it are made if missing.
        replace: says what may be replaced: called with a folder, which need not be there, before the block and once
            more after it, and raises an error unless another folder may take its place. By default nothing may.

    Raises:
        FileExistsError: there is something at `path`, and no `replace`.
        ValueError: `path` is in an object store.
    """
    target = local_path(path)
    if target.is_symlink():
        target = target.resolve()
    check = replace or _check_absent
    check(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    stem = f"{target.name}.partial-{socket.gethostname()}-"
    for left in target.parent.iterdir():
        if left.name.startswith(stem) and not belongs_to_another(left.name.removeprefix(stem)):
            shutil.rmtree(left)
    partial = target.parent / f"{stem}{os.getpid()}"
    old = target.parent / f"{stem}{os.getpid()}-old"
    partial.mkdir()
    try:
        yield partial
        check(target)  # Once more: something may have come meanwhile.
        if target.exists():
            target.rename(old)
        partial.rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)


def _check_absent(target: Path) -> None:
    if target.exists():
        raise FileExistsError(f"Expected nothing at {target}. Remove it, or choose another folder.")
