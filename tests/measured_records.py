"""The report on finished records, measured anew from their timelines."""

from typing import Any

import tensorflow as tf

from atrank_tf.data import Records
from atrank_tf.report.measure import add_users, measure, new_sums
from atrank_tf.report.sums import Sums


def measured(records: Records, now: int, users: int = 2048) -> dict[str, Any]:
    """Returns what the report says; so many users are added at a time, to sums of their own."""
    sums = new_sums(records.schema)
    for serialized in tf.data.TFRecordDataset(records.files).batch(users).as_numpy_iterator():
        some: Sums = new_sums(records.schema)
        add_users(some, serialized, records.schema, now)
        sums.add_all(some.non_zero())
    return measure(records, sums)
