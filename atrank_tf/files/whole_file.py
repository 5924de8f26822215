"""Writes a file whole or not at all: aside, then renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import tensorflow as tf


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
