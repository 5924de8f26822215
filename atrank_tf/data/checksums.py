"""What a records folder holds, as checksums: the same contents are the same on every machine, whenever written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf


def checksums(folder: Path) -> dict[str, str]:
    """Returns relative path -> SHA-256 of the schema, the catalogs, the vocabularies and the timelines in a folder.

    Of arrays the values count, not how they are packed: compression differs between versions of zlib.
    """
    paths = [folder / "schema.toml", *folder.glob("catalog/*.npz"), *folder.glob("vocabulary/*.npz")]
    paths += folder.glob("*.tfrecord")
    return {path.relative_to(folder).as_posix(): _checksum(path) for path in sorted(paths)}


def fingerprint(sums: Mapping[str, str]) -> str:
    """Returns one SHA-256 of all checksums."""
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def _checksum(path: Path) -> str:
    if path.suffix != ".npz":
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(str(path), "rb") as file, np.load(file, allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            values = arrays[name]
            digest.update(json.dumps([name, values.dtype.str, values.shape]).encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
