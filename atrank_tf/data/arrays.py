"""Named arrays in one `.npz` file, written aside and renamed."""

import io
from collections.abc import Mapping

import numpy as np
import tensorflow as tf


def save_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays; whoever reads `path` finds the whole file, or what was there before."""
    # A zip archive is written back and forth, which a GFile does not allow.
    archive = io.BytesIO()
    np.savez(archive, **arrays)  # type: ignore[arg-type]
    with tf.io.gfile.GFile(f"{path}.partial", "wb") as file:
        file.write(archive.getvalue())
    tf.io.gfile.rename(f"{path}.partial", path, overwrite=True)


def load_arrays(path: str) -> dict[str, np.ndarray]:
    """Reads what `save_arrays` wrote.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(f"Expected a file of arrays at {path}. Found none.")
    with tf.io.gfile.GFile(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
