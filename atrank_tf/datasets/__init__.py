"""Ready logs: real data that `python -m atrank_tf.prepare --logs=NAME` can fetch by itself."""

from collections.abc import Callable, Mapping

from atrank_tf.datasets.complete_journey import write_complete_journey

SOURCES: Mapping[str, Callable[[str], None]] = {"complete_journey": write_complete_journey}
"""Name -> function that writes the logs folder, which must not exist yet."""

__all__ = ["SOURCES", "write_complete_journey"]
