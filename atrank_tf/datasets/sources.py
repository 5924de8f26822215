"""Every ready data set by its name, which is the same for `prepare --logs` and for TensorFlow Datasets."""

from collections.abc import Mapping

from atrank_tf.datasets.amazon_reviews import CATEGORIES, amazon_reviews
from atrank_tf.datasets.complete_journey import COMPLETE_JOURNEY
from atrank_tf.datasets.source import Source
from atrank_tf.datasets.taobao import TAOBAO_USER_BEHAVIOR

SOURCES: Mapping[str, Source] = {
    "complete_journey": COMPLETE_JOURNEY,
    "taobao_user_behavior": TAOBAO_USER_BEHAVIOR,
    **{f"amazon_reviews_2014/{category.lower()}": amazon_reviews(category) for category in CATEGORIES},
}
