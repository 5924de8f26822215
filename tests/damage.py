"""What a bad disk or a broken copy makes of a file."""

from collections.abc import Iterator

import numpy as np


def damages(content: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields what was done and what is left: `count` bits flipped, `count` ends cut off."""
    rng = np.random.default_rng(seed)
    for bit in rng.integers(0, 8 * len(content), count).tolist():
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", bytes(flipped)
    for length in [0, len(content) - 1, *rng.integers(0, len(content), count - 2).tolist()]:
        yield f"cut to {length} bytes", content[:length]
