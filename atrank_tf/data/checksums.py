"""What a records folder holds, as checksums: the same contents are the same on every machine, whenever written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from atrank_tf.data.arrays import load_arrays

_BLOCK = 1 << 24


def checksums(folder: Path) -> dict[str, str]:
    """Returns relative path -> SHA-256 of the schema, the catalogs, the vocabularies and the timelines in a folder.

    Of arrays the values count, not how they are packed: compression differs between versions of zlib.
    """
    paths = [folder / "schema.toml", *folder.glob("catalog/*.npz"), *folder.glob("vocabulary/*.npz")]
    paths += folder.glob("*.tfrecord")
    return {path.relative_to(folder).as_posix(): _checksum(str(path)) for path in sorted(paths)}


def fingerprint(sums: Mapping[str, str]) -> str:
    """Returns one SHA-256 of all checksums."""
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def file_checksum(path: str) -> str:
    """Returns the SHA-256 of a file: about half a second for 1 GiB that is in memory already."""
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def arrays_checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of named arrays: of their names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(json.dumps([name, values.dtype.str, values.shape]).encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _checksum(path: str) -> str:
    return arrays_checksum(load_arrays(path)) if path.endswith(".npz") else file_checksum(path)
