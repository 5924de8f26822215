"""Ready logs: real data that `python -m atrank_tf.prepare --logs=NAME` can fetch by itself, and a simulated market."""

from collections.abc import Callable, Mapping

from atrank_tf.datasets.complete_journey import write_complete_journey
from atrank_tf.datasets.market import MarketSettings, write_market

SOURCES: Mapping[str, Callable[[str], None]] = {"complete_journey": write_complete_journey}
"""Name -> function that writes the logs folder, which must not exist yet."""

__all__ = ["SOURCES", "MarketSettings", "write_complete_journey", "write_market"]
