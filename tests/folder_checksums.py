"""Checksums of a records folder, of what lies in it."""

from pathlib import Path

from atrank_tf.data.records import SCHEMA
from atrank_tf.files import arrays_checksum, file_checksum, load_arrays


def checksums(folder: Path) -> dict[str, str]:
    """Returns relative path -> SHA-256 of each file that a training reads; of arrays it is that of their values."""
    paths = [folder / SCHEMA, *folder.glob("catalog/*.npz"), *folder.glob("vocabulary/*.npz")]
    paths += folder.glob("*.tfrecord")
    return {path.relative_to(folder).as_posix(): _checksum(str(path)) for path in sorted(paths)}


def _checksum(path: str) -> str:
    return arrays_checksum(load_arrays(path)) if path.endswith(".npz") else file_checksum(path)
