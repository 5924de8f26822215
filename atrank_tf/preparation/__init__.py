"""Cleans logs and writes them as records.

What reads them is imported when it is asked for: the logs folder can be looked at without TensorFlow and Polars.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrank_tf.preparation.make_records import are_current, prepare, summary

__all__ = ["are_current", "prepare", "summary"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from atrank_tf.preparation import make_records

        return getattr(make_records, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
