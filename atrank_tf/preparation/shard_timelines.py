"""One shard of staged rows -> the timelines of its users, in the order of their ids."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import polars as pl

from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.preparation.logs import USER_ID, catalog_profile
from atrank_tf.preparation.staging import Staging
from atrank_tf.preparation.timelines import BehaviorRows, ImpressionRows, timeline_example
from atrank_tf.schema import FIRST_ROW, Candidates, Features, Schema

Rows = TypeVar("Rows", BehaviorRows, ImpressionRows)
_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class ByUser(Generic[Rows]):
    """Rows of all users of a shard, ordered by user.

    Args:
        user: int64 [V], place of the user in the shard, ascending.
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

    Attributes:
        users: text [U], sorted: everybody with a behavior or a request.
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
    ) -> None:
        self._schema, self._objects, self._vocabularies = schema, objects, vocabularies
        tasks = [name for name, task in schema.tasks.items() if task.candidates is Candidates.IMPRESSIONS]
        groups = {name: staging.read(f"behaviors/{name}", shard) for name in schema.groups}
        shown = {name: staging.read(f"impressions/{name}", shard) for name in tasks}
        users = [rows["user"].unique() for rows in (*groups.values(), *shown.values()) if rows is not None]
        self.users = pl.concat(users).unique().sort() if users else pl.Series("user", [], pl.String)
        self._places = Vocabulary(self.users)
        self.behaviors = {name: self._behaviors(name, rows) for name, rows in groups.items()}
        self.impressions = {name: self._impressions(name, rows) for name, rows in shown.items()}
        self._profile = self._profiles(staging.read("catalog/user", shard))

    def __iter__(self) -> Iterator[Any]:
        """Yields a `tf.train.Example` for each user."""
        groups = {name: (found.rows, self._splits(found.user)) for name, found in self.behaviors.items()}
        tasks = {name: (found.rows, self._splits(found.user)) for name, found in self.impressions.items()}
        for place, user in enumerate(self.users):
            yield timeline_example(
                user,
                {name: _behaviors_of(rows, *splits[place : place + 2]) for name, (rows, splits) in groups.items()},
                {name: _shown_to(rows, *splits[place : place + 2]) for name, (rows, splits) in tasks.items()},
                {column: values[place] for column, values in self._profile.items()},
            )

    def _splits(self, user: np.ndarray) -> np.ndarray:
        """Returns where the rows of each user begin and end, int64 [U + 1]."""
        return np.searchsorted(user, np.arange(len(self.users) + 1))

    def _by_user(self, rows: pl.DataFrame) -> tuple[np.ndarray, pl.DataFrame]:
        places = self._places.rows_of(rows["user"]) - FIRST_ROW
        order = np.argsort(places, kind="stable")
        return places[order], rows[order]

    def _behaviors(self, group: str, rows: pl.DataFrame | None) -> ByUser[BehaviorRows]:
        if rows is None:
            return ByUser(_NOTHING, BehaviorRows(*[_NOTHING] * 4))
        user, rows = self._by_user(rows)
        ids = self._objects[self._schema.groups[group].entity].rows_of(rows["id"])
        action, timestamp, row = (rows[name].to_numpy() for name in ("action", "timestamp", "row"))
        return ByUser(user, BehaviorRows(ids, action, timestamp, row))

    def _impressions(self, task: str, rows: pl.DataFrame | None) -> ByUser[ImpressionRows]:
        spec = self._schema.tasks[task]
        if rows is None:
            nothing = (_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING)
            return ByUser(_NOTHING, ImpressionRows(*nothing, self._sides(spec.context, None, 0)))
        user, rows = self._by_user(rows)
        ids = self._objects[self._schema.groups[spec.group].entity].rows_of(rows["id"])
        # A number for each request of the shard: users may name their requests alike.
        request = rows.select(pl.struct("user", "request").rank("dense").cast(pl.Int64)).to_series().to_numpy()
        label, timestamp, row = (rows[name].to_numpy() for name in ("label", "timestamp", "row"))
        context = self._sides(spec.context, rows, len(rows))
        return ByUser(user, ImpressionRows(request, ids, label, timestamp, row, context))

    def _profiles(self, rows: pl.DataFrame | None) -> dict[str, np.ndarray]:
        if rows is not None:
            rows = self.users.to_frame().join(rows, on="user", how="left", maintain_order="left")
        sides = self._sides(catalog_profile(self._schema), rows, len(self.users))
        if USER_ID in self._schema.user.features:
            feature = self._schema.user.features[USER_ID]
            own = self.users.to_frame().select(pl.concat_list("user")).to_series()
            sides[USER_ID] = self._vocabularies[feature.table].rows_of_lists(own, feature.max_values)
        return {column: values if values.ndim == 2 else values[:, np.newaxis] for column, values in sides.items()}

    def _sides(self, features: Features, rows: pl.DataFrame | None, count: int) -> dict[str, np.ndarray]:
        """Returns column -> int64 [count, max_values] or float32 [count]; all missing where there are no rows."""
        found = {}
        for column, feature in features.features.items():
            empty = pl.repeat([], count, dtype=pl.List(pl.String), eager=True)
            lists = empty if rows is None else rows[f"feature/{column}"].fill_null([])
            found[column] = self._vocabularies[feature.table].rows_of_lists(lists, feature.max_values)
        for column in features.dense:
            missing = np.full(count, np.nan)
            numbers = missing if rows is None else rows[f"dense/{column}"].fill_null(np.nan).to_numpy()
            found[column] = numbers.astype(np.float32)
        return found


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
