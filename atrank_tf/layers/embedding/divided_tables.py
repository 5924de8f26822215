"""Who divides the rows of tables: a context that training sets, and the tables made within it ask.

A context, not an argument: tables stand several calls below whoever makes a model, and no signature in between should
have an argument that only several workers use.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_DIVIDE: ContextVar[Callable[[int], Any] | None] = ContextVar("divide", default=None)


@contextmanager
def dividing(divide: Callable[[int], Any]) -> Iterator[None]:
    """Makes each `SparseEmbedding` that is built within the block ask who holds its rows.

    Args:
        divide: number of rows -> `training.DividedRows`, or None for a table that this process holds whole.
    """
    token = _DIVIDE.set(divide)
    try:
        yield
    finally:
        _DIVIDE.reset(token)


def divided(rows: int) -> Any | None:
    """Returns who holds the rows of a table of so many; None if this process does."""
    divide = _DIVIDE.get()
    return None if divide is None else divide(rows)
