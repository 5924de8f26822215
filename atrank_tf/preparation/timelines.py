"""Timelines: everything one user did, as one `tf.train.Example`; those of a shard, user by user.

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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.preparation.logs import USER_ID, USERS, catalog_profile
from atrank_tf.preparation.staging import Staging
from atrank_tf.schema import FIRST_ROW, Candidates, Features, Schema


class BehaviorRows(NamedTuple):
    """A user's behaviors of one group, in time order, those of one second as in the log: int64 [V] each.

    `id`: entity rows. `action`: `FIRST_ROW` + index in the group's actions. `timestamp`: Unix seconds.
    """

    id: np.ndarray
    action: np.ndarray
    timestamp: np.ndarray


class ImpressionRows(NamedTuple):
    """A user's impressions of one task, in any order: [C] each.

    `request`: equal within a request. `id`: entity rows. `label`: 0 or 1. `timestamp`: Unix seconds. `row`: row of
    the log. `context`: column -> int64 [C, max_values] or float [C].
    """

    request: np.ndarray
    id: np.ndarray
    label: np.ndarray
    timestamp: np.ndarray
    row: np.ndarray
    context: Mapping[str, np.ndarray]


Rows = TypeVar("Rows", BehaviorRows, ImpressionRows)
_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class ByUser(Generic[Rows]):
    """Rows of all users of a shard, ordered by user.

    Args:
        user: int64 [V], index of the user in the shard, ascending.
        rows: the rows, [V] each.
    """

    user: np.ndarray
    rows: Rows


class ShardTimelines:
    """Reads a shard, looks up the rows of its objects and values, and yields its users.

    Args:
        staging: rows without duplicates; sources are named as the files are ("behaviors/purchase").
        shard: number of the shard.
        schema: the schema.
        objects: entity -> ids by entity row.
        vocabularies: table -> values by table row.
        known: returns the users who have a timeline already. Defaults to nobody.

    Attributes:
        users: text [U], sorted: everybody with a behavior or a request, and known users in `catalog/user`.
        profiled: users in `catalog/user`.
        behaviors: group -> its rows.
        impressions: task -> its rows.
    """

    def __init__(
        self,
        staging: Staging,
        shard: int,
        schema: Schema,
        objects: Mapping[str, Vocabulary],
        vocabularies: Mapping[str, Vocabulary],
        known: Callable[[], pl.Series] | None = None,
    ) -> None:
        self._schema, self._objects, self._vocabularies = schema, objects, vocabularies
        tasks = [name for name, task in schema.tasks.items() if task.candidates is Candidates.IMPRESSIONS]
        groups = {name: staging.read(f"behaviors/{name}", shard) for name in schema.groups}
        shown = {name: staging.read(f"impressions/{name}", shard) for name in tasks}
        profiles = staging.read(USERS, shard)
        self.profiled = frozenset(() if profiles is None else profiles["user"])
        users = [rows["user"].unique() for rows in (*groups.values(), *shown.values()) if rows is not None]
        if known and profiles is not None:
            users.append(profiles["user"].filter(profiles["user"].is_in(known().implode())))
        self.users = pl.concat(users).unique().sort() if users else pl.Series("user", [], pl.String)
        self._user_indices = Vocabulary(self.users)
        self.behaviors = {name: self._behaviors(name, rows) for name, rows in groups.items()}
        self.impressions = {name: self._impressions(name, rows) for name, rows in shown.items()}
        self._profile = self._profiles(profiles)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yields each user with a `tf.train.Example`."""
        groups = {name: (found.rows, self._splits(found.user)) for name, found in self.behaviors.items()}
        tasks = {name: (found.rows, self._splits(found.user)) for name, found in self.impressions.items()}
        for index, user in enumerate(self.users):
            yield (
                user,
                timeline_example(
                    user,
                    {name: _behaviors_of(rows, *splits[index : index + 2]) for name, (rows, splits) in groups.items()},
                    {name: _shown_to(rows, *splits[index : index + 2]) for name, (rows, splits) in tasks.items()},
                    {column: values[index] for column, values in self._profile.items()},
                ),
            )

    def _splits(self, user: np.ndarray) -> np.ndarray:
        """Returns where the rows of each user begin and end, int64 [U + 1]."""
        return np.searchsorted(user, np.arange(len(self.users) + 1))

    def _by_user(self, rows: pl.DataFrame, *then: str) -> tuple[np.ndarray, pl.DataFrame]:
        """Returns rows ordered by user, then by other columns, and the index of each row's user."""
        indices = pl.Series("index", self._user_indices.lookup(rows["user"]) - FIRST_ROW)
        rows = rows.with_columns(indices).sort("index", *then)
        return rows["index"].to_numpy(), rows

    def _behaviors(self, group: str, rows: pl.DataFrame | None) -> ByUser[BehaviorRows]:
        if rows is None:
            return ByUser(_NOTHING, BehaviorRows(*[_NOTHING] * 3))
        user, rows = self._by_user(rows, "timestamp", "row")
        ids = self._objects[self._schema.groups[group].entity].lookup(rows["id"])
        return ByUser(user, BehaviorRows(ids, rows["action"].to_numpy(), rows["timestamp"].to_numpy()))

    def _impressions(self, task: str, rows: pl.DataFrame | None) -> ByUser[ImpressionRows]:
        spec = self._schema.tasks[task]
        if rows is None:
            nothing = (_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING)
            return ByUser(_NOTHING, ImpressionRows(*nothing, self._sides(spec.context, None, 0)))
        user, rows = self._by_user(rows)
        ids = self._objects[self._schema.groups[spec.group].entity].lookup(rows["id"])
        # A number for each request of the shard: users may name their requests alike.
        request = rows.select(pl.struct("user", "request").rank("dense").cast(pl.Int64)).to_series().to_numpy()
        label, timestamp, row = (rows[name].to_numpy() for name in ("label", "timestamp", "row"))
        context = self._sides(spec.context, rows, len(rows))
        for column in spec.of_request:
            _check_of_request(task, column, context[column], rows, request)
        return ByUser(user, ImpressionRows(request, ids, label, timestamp, row, context))

    def _profiles(self, rows: pl.DataFrame | None) -> dict[str, np.ndarray]:
        if rows is not None:
            rows = self.users.to_frame().join(rows, on="user", how="left", maintain_order="left")
        sides = self._sides(catalog_profile(self._schema), rows, len(self.users))
        if USER_ID in self._schema.user.features:
            feature = self._schema.user.features[USER_ID]
            own = self.users.to_frame().select(pl.concat_list("user")).to_series()
            sides[USER_ID] = self._vocabularies[feature.table].lookup_lists(own, feature.max_values)
        return {column: values if values.ndim == 2 else values[:, np.newaxis] for column, values in sides.items()}

    def _sides(self, features: Features, rows: pl.DataFrame | None, count: int) -> dict[str, np.ndarray]:
        """Returns column -> int64 [count, max_values] or float32 [count]; all missing where there are no rows."""
        found = {}
        for column, feature in features.features.items():
            empty = pl.repeat([], count, dtype=pl.List(pl.String), eager=True)
            lists = empty if rows is None else rows[f"feature/{column}"].fill_null([])
            found[column] = self._vocabularies[feature.table].lookup_lists(lists, feature.max_values)
        for column in features.dense:
            missing = np.full(count, np.nan)
            numbers = missing if rows is None else rows[f"dense/{column}"].fill_null(np.nan).to_numpy()
            found[column] = numbers.astype(np.float32)
        return found


def _check_of_request(task: str, column: str, values: np.ndarray, rows: pl.DataFrame, request: np.ndarray) -> None:
    """Raises ValueError unless a column has one value in each request."""
    _, first, places = np.unique(request, return_index=True, return_inverse=True)
    flat = values.reshape(len(values), -1)
    same = ((flat == flat[first][places]) | (np.isnan(flat) & np.isnan(flat[first][places]))).all(axis=1)
    if not same.all():
        row = int(np.argmin(same))
        pair = [int(rows["row"][each]) for each in (int(first[places[row]]), row)]
        raise ValueError(
            f"Expected one {column} in each request: [tasks.{task}] names it in of_request. Found: request "
            f"{rows['request'][row]!r} has another in row {pair[1]} than in row {pair[0]} of impressions/{task}. Take "
            "it out of of_request, or mend the log."
        )


def _behaviors_of(rows: BehaviorRows, begin: int, end: int) -> BehaviorRows:
    return BehaviorRows(*(column[begin:end] for column in rows))


def _shown_to(rows: ImpressionRows, begin: int, end: int) -> ImpressionRows:
    return ImpressionRows(
        request=rows.request[begin:end],
        id=rows.id[begin:end],
        label=rows.label[begin:end],
        timestamp=rows.timestamp[begin:end],
        row=rows.row[begin:end],
        context={name: column[begin:end] for name, column in rows.context.items()},
    )


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
    example = tf.train.Example()
    feature = example.features.feature  # Filled in place: three messages for each key take twice as long.
    feature["user_id"].bytes_list.value.append(user_id.encode())
    for name, rows in behaviors.items():
        for key, values in zip(rows._fields, rows, strict=True):
            _fill(feature[f"{name}/{key}"], values)
    for name, shown in impressions.items():
        for key, values in _requests(shown).items():
            _fill(feature[f"{name}/{key}"], values)
    for column, values in profile.items():
        _fill(feature[f"user/{column}"], values[values != 0] if values.dtype.kind == "i" else values)
    return example


def extended(timeline: bytes, more: Any, *, profile: bool) -> bytes:
    """Returns a serialized timeline with later behaviors and requests of its user behind its own.

    Args:
        timeline: the serialized Example.
        more: an Example of the same user, all of whose timestamps are later.
        profile: whether the user's features are taken from `more`, but for `USER_ID`, which has its row already.
    """
    example = tf.train.Example.FromString(timeline)
    features = example.features.feature
    for key, found in more.features.feature.items():
        if key.startswith("user/"):
            if profile and key != f"user/{USER_ID}":
                features[key].CopyFrom(found)
        elif key != "user_id":
            kind = found.WhichOneof("kind")
            getattr(features[key], kind).value.extend(getattr(found, kind).value)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def _requests(rows: ImpressionRows) -> dict[str, np.ndarray]:
    _, request = np.unique(rows.request, return_inverse=True)
    count = int(request.max()) + 1 if len(request) else 0
    last = np.iinfo(np.int64).max
    request_time, first_row = np.full(count, last), np.full(count, last)
    np.minimum.at(request_time, request, rows.timestamp)
    np.minimum.at(first_row, request, rows.row)
    requests = np.lexsort((first_row, request_time))
    position = np.empty(count, np.int64)
    position[requests] = np.arange(count)
    order = np.lexsort((rows.row, position[request]))
    return {
        "timestamp": request_time[requests],
        "row_lengths": np.bincount(position[request], minlength=count),
        "candidates": rows.id[order],
        "label": rows.label[order],
        **{column: values[order].reshape(-1) for column, values in rows.context.items()},
    }


def _fill(feature: Any, values: np.ndarray) -> None:
    kind = feature.float_list if values.dtype.kind == "f" else feature.int64_list
    kind.SetInParent()  # It is of that kind even if it is empty.
    kind.value.extend(values.tolist())  # A list of Python numbers is taken several times faster than an array.
