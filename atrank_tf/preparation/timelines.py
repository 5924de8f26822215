"""Everything one user did -> one `tf.train.Example`, the unit that records are made of.

| key | content |
|---|---|
| `user_id` | bytes |
| `<group>/id`, `<group>/action`, `<group>/timestamp` | int64 lists in time order; ties keep the order of the log |
| `<task>/timestamp`, `<task>/row_lengths` | int64, one per request, in time order |
| `<task>/candidates`, `<task>/label` | int64, the candidates of all requests, one after the other |
| `<task>/<context column>` | int64 (`max_values` for each candidate, padded with 0) or float (NaN: missing) |
| `user/<column>` | int64 (1 to `max_values`) or one float (NaN: missing) |

Every key is always there, if need be with an empty list. Objects are entity rows, values are table rows.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class BehaviorRows(NamedTuple):
    """A user's behaviors of one group, in any order: int64 [V] each.

    `id`: entity rows. `action`: `FIRST_ROW` + place in the group's actions. `timestamp`: Unix seconds. `row`: place in
    the log, which orders behaviors of one moment.
    """

    id: np.ndarray
    action: np.ndarray
    timestamp: np.ndarray
    row: np.ndarray


class ImpressionRows(NamedTuple):
    """A user's impressions of one task, in any order: [C] each.

    `request`: equal within a request. `id`: entity rows. `label`: 0 or 1. `timestamp`: Unix seconds. `row`: place in
    the log. `context`: column -> int64 [C, max_values] or float [C].
    """

    request: np.ndarray
    id: np.ndarray
    label: np.ndarray
    timestamp: np.ndarray
    row: np.ndarray
    context: Mapping[str, np.ndarray]


def timeline_example(
    user_id: str,
    behaviors: Mapping[str, BehaviorRows],
    impressions: Mapping[str, ImpressionRows],
    profile: Mapping[str, np.ndarray],
) -> Any:
    """Builds the timeline of one user.

    Args:
        user_id: the user.
        behaviors: group -> behaviors, without duplicates; every group of the schema.
        impressions: task -> impressions, without repeated candidates; every task of the schema that has them.
        profile: column -> int64 [max_values] padded with 0, or float [1].

    Returns:
        A `tf.train.Example`. Serialize it with `deterministic=True`: its keys have no order of their own.
    """
    feature = {"user_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[user_id.encode()]))}
    for name, rows in behaviors.items():
        order = np.lexsort((rows.row, rows.timestamp))
        feature[f"{name}/id"] = _integers(rows.id[order])
        feature[f"{name}/action"] = _integers(rows.action[order])
        feature[f"{name}/timestamp"] = _integers(rows.timestamp[order])
    for name, shown in impressions.items():
        feature |= {f"{name}/{key}": value for key, value in _requests(shown).items()}
    for column, values in profile.items():
        real = values[values != 0] if values.dtype.kind == "i" else values
        feature[f"user/{column}"] = _feature(real)
    return tf.train.Example(features=tf.train.Features(feature=feature))


def _requests(rows: ImpressionRows) -> dict[str, Any]:
    _, request = np.unique(rows.request, return_inverse=True)
    count = int(request.max()) + 1 if len(request) else 0
    last = np.iinfo(np.int64).max
    moment, first_row = np.full(count, last), np.full(count, last)
    np.minimum.at(moment, request, rows.timestamp)
    np.minimum.at(first_row, request, rows.row)
    requests = np.lexsort((first_row, moment))
    place = np.empty(count, np.int64)
    place[requests] = np.arange(count)
    order = np.lexsort((rows.row, place[request]))
    return {
        "timestamp": _integers(moment[requests]),
        "row_lengths": _integers(np.bincount(place[request], minlength=count)),
        "candidates": _integers(rows.id[order]),
        "label": _integers(rows.label[order]),
        **{column: _feature(values[order].reshape(-1)) for column, values in rows.context.items()},
    }


def _feature(values: np.ndarray) -> Any:
    if values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values.tolist()))
    return _integers(values)


def _integers(values: np.ndarray) -> Any:
    # A list of Python integers is taken several times faster than an array.
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values.tolist()))
