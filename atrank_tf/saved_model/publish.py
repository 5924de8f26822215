"""Publishing of a version folder under a base path, without a moment in which it is half written."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from atrank_tf.server.versions import latest_version

# Not a number, so that no server looks inside. One name is enough: `publish` holds a lock.
_UNFINISHED = "publishing.tmp"


def publish(write: Callable[[str], None], base_path: str) -> str:
    """Writes a SavedModel under a base path as its next version; servers see all of it or nothing.

    The model is written into a folder that is no version, which is then renamed. A run that is killed leaves that
    folder behind; the next `publish` removes it. Two runs at once wait for each other.

    Args:
        write: called once with the path of an existing, empty folder; saves a SavedModel there.
        base_path: made where it is missing.

    Returns:
        Path of the new version folder: the largest number so far plus one, or `<base_path>/1`.

    Raises:
        ValueError: if `write` left no `saved_model.pb`. This, and anything that `write` raises, leaves the base path as
            it was.
    """
    base = Path(base_path)
    base.mkdir(parents=True, exist_ok=True)
    with _locked(base):
        unfinished = base / _UNFINISHED
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        try:
            write(str(unfinished))
            if not (unfinished / "saved_model.pb").is_file():
                raise ValueError(
                    "Expected write(path) to save a SavedModel into the path that it is given. Received: no "
                    f"saved_model.pb in {unfinished}."
                )
            newest = latest_version(base_path)
            target = base / str(newest.number + 1 if newest else 1)
            for path in (*unfinished.rglob("*"), unfinished):
                _to_disk(path)
            unfinished.rename(target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        _to_disk(base)
    return str(target)


def _to_disk(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk: a rename may be there before what was written.

    Not every file system can do that for a folder.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(*[OSError] * path.is_dir()):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The kernel gives this lock back when a process dies, so an unfinished folder seen under it has no writer.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
