"""A folder that appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(path: str) -> Iterator[Path]:
    """Gives a folder to write; it becomes `path` when the block ends, and disappears if the block fails.

    Raises:
        FileExistsError: there is something at `path` already.
    """
    target = Path(path)
    if target.exists():
        raise FileExistsError(f"Expected nothing at {path}. Remove it, or choose another folder.")
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
