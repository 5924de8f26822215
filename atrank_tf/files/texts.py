"""Arrays of texts of any length, each of which takes the room that it needs.

NumPy's own arrays of unicode give every text four bytes for each character of the longest: a million ids, one of them
of 1,000 characters, take 4 GB.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_AT_ONCE = 1 << 16
"""Texts that are Python objects at a time."""


def text_array(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """Returns texts as an array of NumPy's `StringDType`."""
    return np.array(texts, np.dtypes.StringDType())


def is_text_array(values: np.ndarray) -> bool:
    """Returns whether an array is one that `text_array` returns."""
    return values.dtype.kind == "T"


def text_to_bytes(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a text array [N] as offsets, int64 [N + 1], and bytes, uint8: text i is between offsets i and i + 1."""
    lengths = np.zeros(len(texts), np.int64)
    blocks = []
    for start in range(0, len(texts), _AT_ONCE):
        encoded = [text.encode() for text in texts[start : start + _AT_ONCE].tolist()]
        lengths[start : start + _AT_ONCE] = [len(text) for text in encoded]
        blocks.append(b"".join(encoded))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), np.frombuffer(b"".join(blocks), np.uint8)


def text_of_bytes(offsets: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Returns the text array that `text_to_bytes` was given.

    Raises:
        ValueError: these are not the offsets of the bytes, or the bytes are not UTF-8.
    """
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(content) or (np.diff(offsets) < 0).any():
        raise ValueError(f"Expected offsets from 0 to {len(content)}, ascending, of so many bytes of texts.")
    texts, whole = np.empty(len(offsets) - 1, np.dtypes.StringDType()), content.tobytes()
    for start in range(0, len(texts), _AT_ONCE):
        places = offsets[start : start + _AT_ONCE + 1].tolist()
        texts[start : start + _AT_ONCE] = [whole[begin:end].decode() for begin, end in pairwise(places)]
    return texts
