"""What layers must know when XLA compiles the function that they are called in."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

_APART = (0x9E3779B1, 0x85EBCA77)
"""What the seeds of one function are apart: odd, so that all differ; unlike, so that none is another's shifted."""

_SEEDS: ContextVar[Iterator[Any] | None] = ContextVar("seeds", default=None)


@contextmanager
def compiled(seed: Any) -> Iterator[None]:
    """Tells the layers called within it that XLA compiles them.

    They then change no variable: each call of a `Dropout` has a seed of its own, made of the given one, in place of the
    layer's next. And they use no operation that XLA lacks.

    Args:
        seed: uint32 [2].
    """
    each = (seed + tf.constant([call * apart % 2**32 for apart in _APART], tf.uint32) for call in itertools.count(1))
    token = _SEEDS.set(each)
    try:
        yield
    finally:
        _SEEDS.reset(token)


def is_compiled() -> bool:
    """Returns whether XLA compiles what is called."""
    return _SEEDS.get() is not None


def given_seed() -> Any | None:
    """Returns the next seed, uint32 [2], of the function that XLA compiles; None where it compiles none."""
    seeds = _SEEDS.get()
    return None if seeds is None else next(seeds)
