"""Public data sets for `prepare --logs=NAME` and for TensorFlow Datasets, and two simulated ones of any size.

Importing this package registers the builders, so that `tfds.load` and `tfds build` find them.
"""

from atrank_tf.datasets.builders import SOURCES, AmazonReviews2014, CompleteJourney, MovieLens100K, TaobaoUserBehavior
from atrank_tf.datasets.hotel_lists import write_hotel_lists
from atrank_tf.datasets.market import MarketSettings, write_market
from atrank_tf.datasets.source import Source, download, write_logs

__all__ = [
    "SOURCES",
    "AmazonReviews2014",
    "CompleteJourney",
    "MarketSettings",
    "MovieLens100K",
    "Source",
    "TaobaoUserBehavior",
    "download",
    "write_hotel_lists",
    "write_logs",
    "write_market",
]
