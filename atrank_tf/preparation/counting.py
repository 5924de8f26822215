"""Counts objects and values of a shard, without duplicates; mean and variance of numbers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from atrank_tf.data.records import DUPLICATE
from atrank_tf.preparation.cleaning import REPEATED_CANDIDATE, REPEATED_ID
from atrank_tf.preparation.logs import BEHAVIORS, IMPRESSIONS, USER, USER_ID, USERS, catalog_profile
from atrank_tf.schema import DenseFeature, Features, Schema, SplitKind, Transform

_ROUNDING = 2.0**-40
"""How much of itself a mean in float64 may be off by."""


@dataclass(frozen=True)
class MeanAndVariance:
    """Mean and variance of the values seen so far.

    Args:
        count: number of values, missing ones left out.
        mean: their mean.
        squares: sum of their squared distances from the mean.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: pl.Series) -> "MeanAndVariance":
        """Returns mean and variance of some values; nulls are missing."""
        values = values.drop_nulls().rechunk()
        if not len(values):
            return cls()
        mean = float(values.mean())  # type: ignore[arg-type]
        return cls(count=len(values), mean=mean, squares=float(((values - mean) ** 2).sum()))

    def add(self, more: "MeanAndVariance") -> "MeanAndVariance":
        """Returns mean and variance of these values and of more."""
        if not more.count:
            return self
        count, distance = self.count + more.count, more.mean - self.mean
        # Chan, Golub and LeVeque: sums of squares alone would lose the variance of large values.
        return MeanAndVariance(
            count=count,
            mean=self.mean + distance * more.count / count,
            squares=self.squares + more.squares + distance**2 * self.count * more.count / count,
        )

    @property
    def variance(self) -> float:
        """Variance, 1 where it is 0 or nothing is known: a constant column is only shifted.

        What rounding makes of 0 is 0: the mean of many times 0.1 is not quite 0.1.
        """
        variance = self.squares / max(1, self.count)
        return variance if variance > (_ROUNDING * self.mean) ** 2 else 1.0


class Dropped(NamedTuple):
    """Rows of a file (`label`) that were dropped for a reason, and the first of them."""

    label: str
    reason: str
    rows: int
    first_row: int


@dataclass(frozen=True)
class Counts:
    """Counts of one shard or of several.

    Args:
        objects: entity -> `id`, `count` (behaviors that count) and `shown` (as a candidate, in requests that count).
        values: table -> `value` and `count`, of user and context features.
        dense: "user" or a task -> numeric column -> its mean and variance.
        dropped: what was dropped.
        newest: label of a file -> its latest timestamp.
    """

    objects: dict[str, pl.DataFrame] = field(default_factory=dict)
    values: dict[str, pl.DataFrame] = field(default_factory=dict)
    dense: dict[str, dict[str, MeanAndVariance]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(MeanAndVariance))
    )
    dropped: list[Dropped] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)

    def add(self, more: "Counts") -> None:
        """Adds the counts of another shard. The order of shards is seen in the last digits of means and variances."""
        for entity, found in more.objects.items():
            self.add_objects(entity, found)
        for table, found in more.values.items():
            self.add_values(table, found)
        for owner, columns in more.dense.items():
            for column, measured in columns.items():
                self.dense[owner][column] = self.dense[owner][column].add(measured)
        self.dropped.extend(more.dropped)
        for label, newest in more.newest.items():
            self.newest[label] = max(newest, self.newest.get(label, newest))

    def of_objects(self, entity: str, sides: pl.DataFrame | None) -> pl.DataFrame:
        """Returns `id`, `count` and `shown` of every object in the logs or in the entity's catalog file."""
        known = [self.objects[entity]] if entity in self.objects else []
        if sides is not None:
            zero = pl.lit(0, pl.Int64)
            known.append(sides.select("id", count=zero, shown=zero))
        return sum_objects(known)

    def add_objects(self, entity: str, found: pl.DataFrame) -> None:
        """Adds the counts of some of an entity's objects."""
        self.objects[entity] = sum_objects([self.objects[entity], found]) if entity in self.objects else found

    def add_values(self, table: str, found: pl.DataFrame) -> None:
        """Adds the counts of some of a table's values."""
        self.values[table] = sum_values([self.values[table], found]) if table in self.values else found


def count_shard(
    rows: Mapping[str, pl.DataFrame], schema: Schema, known: pl.Series | None = None
) -> tuple[dict[str, pl.DataFrame], Counts]:
    """Drops the duplicates among the rows of a shard, and counts the rest.

    Args:
        rows: label of a file -> its clean rows whose users are in the shard, in any order. All rows of a user.
        schema: the schema.
        known: users who were counted before. Defaults to nobody.

    Returns:
        Label -> the rows that are kept, in the order of the log; and their counts.
    """
    counts, kept, counted = Counts(), {}, _counted(schema)
    for label, found in rows.items():
        kind, _, name = label.partition("/")
        if kind == BEHAVIORS:
            dropped: list[Dropped] = []
            if not schema.groups[name].keep_duplicates:
                found, dropped = keep_first(found, ["user", "id", "action", "timestamp"], label, DUPLICATE)
            objects = found.group_by("id").agg(count=counted.sum(), shown=pl.lit(0))
            counts.add_objects(schema.groups[name].entity, _as_integers(objects))
        elif kind == IMPRESSIONS:
            key = ["user", "request", "id"]
            # A request's time is the earliest of all its rows, whichever of them stay.
            found = found.with_columns(pl.col("label").max().over(key), pl.col("timestamp").min().over(key))
            found, dropped = keep_first(found, key, label, REPEATED_CANDIDATE)
            objects = found.group_by("id").agg(count=pl.lit(0), shown=counted.sum())
            counts.add_objects(schema.entity_of(name), _as_integers(objects))
            _add_side(counts, found.filter(counted), schema.tasks[name].context, name, schema)
        else:
            found, dropped = keep_first(found, ["user"], label, REPEATED_ID)
        kept[label] = found
        counts.dropped.extend(dropped)
    active = {label: found for label, found in kept.items() if label != USERS and len(found)}
    counts.newest.update({label: int(found["timestamp"].max()) for label, found in active.items()})  # type: ignore[arg-type]
    if active:
        users = pl.concat([found["user"] for found in active.values()]).unique()
        if known is not None:
            users = users.filter(~users.is_in(known.implode()))
        if USERS in kept:
            profiles = kept[USERS].filter(pl.col("user").is_in(users.implode()))
            _add_side(counts, profiles, catalog_profile(schema), USER, schema)
        if USER_ID in schema.user.features and not schema.tables[schema.user.features[USER_ID].table].coded:
            found = users.to_frame("value").with_columns(count=pl.lit(1, pl.Int64))
            counts.add_values(schema.user.features[USER_ID].table, found)
    return kept, counts


def sum_objects(counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Adds counts of objects up: `id` (each once), `count`, `shown`."""
    return pl.concat(counts).group_by("id").agg(pl.col("count", "shown").sum())


def sum_values(counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Adds counts of values up: `value` (each once), `count`."""
    return pl.concat(counts).group_by("value").agg(pl.col("count").sum())


def value_counts(rows: pl.DataFrame, column: str, weight: pl.Expr) -> pl.DataFrame:
    """Returns `value` and `count` of a column of lists; each row adds its weight once to each of its values."""
    lists = rows.select(value=pl.col(column).list.unique(), count=weight.cast(pl.Int64))
    flat = lists.filter(pl.col("value").list.len() > 0).explode("value")
    return flat.group_by("value").agg(pl.col("count").sum())


def keep_first(rows: pl.DataFrame, key: list[str], label: str, reason: str) -> tuple[pl.DataFrame, list[Dropped]]:
    """Keeps, of the rows that agree in `key`, the first in the log; says which others were dropped, if any."""
    kept = rows.sort("row").unique(key, keep="first", maintain_order=True)
    if len(kept) == len(rows):
        return kept, []
    dropped = rows.join(kept.select("row"), on="row", how="anti")["row"]
    return kept, [Dropped(label, reason, len(dropped), int(dropped.min()))]  # type: ignore[arg-type]


def measured(values: pl.Series, feature: DenseFeature) -> MeanAndVariance:
    """Returns mean and variance of a numeric column as a model standardizes it: after its transform."""
    if feature.transform is Transform.LOG:
        values = values.sign() * values.abs().log1p()
    return MeanAndVariance.of(values)


def _counted(schema: Schema) -> pl.Expr:
    if schema.split.kind is SplitKind.BY_TIME:
        return pl.col("timestamp") < schema.split.validation_from
    return pl.col("timestamp").is_not_null()


def _as_integers(objects: pl.DataFrame) -> pl.DataFrame:
    return objects.with_columns(pl.col("count", "shown").cast(pl.Int64))


def _add_side(counts: Counts, rows: pl.DataFrame, features: Features, owner: str, schema: Schema) -> None:
    for column, feature in features.features.items():
        if schema.tables[feature.table].coded:  # No value has a row of its own.
            continue
        counts.add_values(feature.table, value_counts(rows, f"feature/{column}", pl.lit(1)))
    for column, numeric in features.dense.items():
        found = counts.dense[owner]
        found[column] = found[column].add(measured(rows[f"dense/{column}"], numeric))
