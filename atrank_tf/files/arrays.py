"""Writes and reads named arrays in one `.npz` file."""

import io
import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.files.texts import is_text_array, text_of_bytes, text_to_bytes
from atrank_tf.files.whole import whole_file

_OFFSETS, _BYTES = "//offsets", "//bytes"
"""What is added to the name of an array of texts: no other name has two slashes in a row."""
_END = struct.Struct("<4s4H2LH")
"""The last bytes of a zip archive without a comment; the fifth field is the number of its files."""


def save_arrays(path: str, arrays: Mapping[str, np.ndarray], *, compress: bool = False) -> None:
    """Writes arrays, whole or not at all; of an array of texts (`text_array`) its offsets and its bytes."""
    stored: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        if is_text_array(values):
            stored[name + _OFFSETS], stored[name + _BYTES] = text_to_bytes(values)
        else:
            stored[name] = values
    # A zip archive is written back and forth, which a GFile does not allow.
    archive = io.BytesIO()
    write = np.savez_compressed if compress else np.savez
    write(archive, **stored)  # type: ignore[arg-type]
    with whole_file(path) as partial, tf.io.gfile.GFile(partial, "wb") as file:
        file.write(archive.getvalue())


def load_arrays(path: str, advice: str = "") -> dict[str, np.ndarray]:
    """Reads what `save_arrays` wrote. The archive has a checksum of each array, which is compared.

    Args:
        path: a file.
        advice: what to do if it is damaged, a sentence.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged.
    """
    if not tf.io.gfile.exists(path):
        raise FileNotFoundError(f"Expected a file of arrays at {path}. Found none.")
    with tf.io.gfile.GFile(path, "rb") as file:
        file.read(1)  # Opens it: a file that may not be read is not damaged.
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            if len(arrays) != _entries(file):
                raise ValueError(f"some arrays are not found; there are {', '.join(arrays)}")
            for name in [name.removesuffix(_OFFSETS) for name in arrays if name.endswith(_OFFSETS)]:
                arrays[name] = text_of_bytes(arrays.pop(name + _OFFSETS), arrays.pop(name + _BYTES))
        except Exception as error:  # NumPy, zipfile and zlib have about ten kinds of errors for a damaged archive.
            reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
            raise ValueError(f"{path} is damaged: {reason}. {advice}".rstrip()) from error
    return arrays


def _entries(file: Any) -> int:
    """Returns how many files the end of an archive names.

    Python does not compare that with those that it finds, and a wrong bit in the directory hides all that follow.
    """
    file.seek(-_END.size, os.SEEK_END)
    return int(_END.unpack(file.read(_END.size))[4])
