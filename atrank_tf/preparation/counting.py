"""The first reading of the rows of a shard: duplicates are dropped, objects and values are counted."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from atrank_tf.data.records import DUPLICATE
from atrank_tf.preparation.cleaning import REPEATED_CANDIDATE, REPEATED_ID
from atrank_tf.preparation.logs import BEHAVIORS, IMPRESSIONS, USER, USER_ID, USERS, catalog_profile
from atrank_tf.preparation.mean_and_variance import Moments
from atrank_tf.schema import Entity, Features, Schema, SplitKind


class Dropped(NamedTuple):
    """Rows of a file (`label`) that were dropped for a reason, and the first of them."""

    label: str
    reason: str
    rows: int
    first_row: int


@dataclass(frozen=True)
class Counts:
    """What was counted, in one shard or in several.

    Args:
        objects: entity -> `id`, `count` (counted behaviors) and `uses` (these and counted shown candidates).
        values: table -> `value` and `count`, of user and context features.
        moments: place ("user" or a task) -> column -> moments.
        dropped: what was dropped.
    """

    objects: dict[str, pl.DataFrame] = field(default_factory=dict)
    values: dict[str, pl.DataFrame] = field(default_factory=dict)
    moments: dict[str, dict[str, Moments]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Moments)))
    dropped: list[Dropped] = field(default_factory=list)

    def add(self, more: "Counts") -> None:
        """Adds the counts of another shard. Moments are added as they come: the order is seen in their last digits."""
        for entity, found in more.objects.items():
            self.add_objects(entity, found)
        for table, found in more.values.items():
            self.add_values(table, found)
        for place, columns in more.moments.items():
            for column, moments in columns.items():
                self.moments[place][column] = self.moments[place][column].add(moments)
        self.dropped.extend(more.dropped)

    def of_objects(self, entity: str, sides: pl.DataFrame | None) -> pl.DataFrame:
        """Returns `id`, `count` and `uses` of every object in the logs or in the entity's catalog file."""
        known = [self.objects[entity]] if entity in self.objects else []
        if sides is not None:
            zero = pl.lit(0, pl.Int64)
            known.append(sides.select("id", count=zero, uses=zero))
        return sum_objects(known)

    def add_objects(self, entity: str, found: pl.DataFrame) -> None:
        """Adds the counts of some of an entity's objects."""
        self.objects[entity] = sum_objects([self.objects[entity], found]) if entity in self.objects else found

    def add_values(self, table: str, found: pl.DataFrame) -> None:
        """Adds the counts of some of a table's values."""
        self.values[table] = sum_values([self.values[table], found]) if table in self.values else found


def count_shard(rows: Mapping[str, pl.DataFrame], schema: Schema) -> tuple[dict[str, pl.DataFrame], Counts]:
    """Drops the duplicates among the rows of a shard, and counts the rest.

    Args:
        rows: label of a file -> its clean rows whose users are in the shard, in any order. All rows of a user.
        schema: the schema.

    Returns:
        Label -> the rows that are kept, in the order of the log; and their counts.
    """
    counts, kept, counted = Counts(), {}, _counted(schema)
    for label, found in rows.items():
        kind, _, name = label.partition("/")
        if kind == BEHAVIORS:
            found, dropped = keep_first(found, ["user", "id", "action", "timestamp"], label, DUPLICATE)
            objects = found.group_by("id").agg(count=counted.sum(), uses=counted.sum())
            counts.add_objects(schema.groups[name].entity, _as_integers(objects))
        elif kind == IMPRESSIONS:
            key = ["user", "request", "id"]
            # A request's moment is the earliest of all its rows, whichever of them stay.
            found = found.with_columns(pl.col("label").max().over(key), pl.col("timestamp").min().over(key))
            found, dropped = keep_first(found, key, label, REPEATED_CANDIDATE)
            objects = found.group_by("id").agg(count=pl.lit(0), uses=counted.sum())
            counts.add_objects(schema.groups[schema.tasks[name].group].entity, _as_integers(objects))
            _add_side(counts, found.filter(counted), schema.tasks[name].context, name)
        else:
            found, dropped = keep_first(found, ["user"], label, REPEATED_ID)
            _add_side(counts, found, catalog_profile(schema), USER)
        kept[label] = found
        counts.dropped.extend(dropped)
    active = [found["user"].unique() for label, found in kept.items() if label != USERS]
    if USER_ID in schema.user.features and active:
        users = pl.DataFrame({"value": pl.concat(active).unique()})
        counts.add_values(schema.user.features[USER_ID].table, users.with_columns(count=pl.lit(1, pl.Int64)))
    return kept, counts


def sum_objects(counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Adds counts of objects up: `id` (each once), `count`, `uses`."""
    return pl.concat(counts).group_by("id").agg(pl.col("count", "uses").sum())


def sum_values(counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Adds counts of values up: `value` (each once), `count`."""
    return pl.concat(counts).group_by("value").agg(pl.col("count").sum())


def table_counts(
    table: str, entities: dict[str, tuple[Entity, pl.DataFrame, pl.DataFrame | None]], counts: Counts
) -> list[pl.DataFrame]:
    """Returns `value` and `count` of every use of a table; `atrank_tf.data.vocabulary` says what counts.

    Args:
        table: the table.
        entities: name -> the entity, what `Counts.of_objects` gives for it, and its catalog file's rows, each id once.
        counts: the counts.
    """
    found = [counts.values[table]] if table in counts.values else []
    for entity, objects, sides in entities.values():
        if entity.id.table == table:
            found.append(objects.select(value="id", count="uses"))
        for column, feature in entity.features.items():
            if feature.table == table and sides is not None:
                carriers = sides.select("id", f"feature/{column}").join(objects, on="id")
                found.append(value_counts(carriers, f"feature/{column}", pl.col("uses") + 1))
    return found


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


def _counted(schema: Schema) -> pl.Expr:
    if schema.split.kind is SplitKind.BY_TIME:
        return pl.col("timestamp") < schema.split.validation_from
    return pl.col("timestamp").is_not_null()


def _as_integers(objects: pl.DataFrame) -> pl.DataFrame:
    return objects.with_columns(pl.col("count", "uses").cast(pl.Int64))


def _add_side(counts: Counts, rows: pl.DataFrame, features: Features, place: str) -> None:
    for column, feature in features.features.items():
        counts.add_values(feature.table, value_counts(rows, f"feature/{column}", pl.lit(1)))
    for column in features.dense:
        moments = counts.moments[place]
        moments[column] = moments[column].add(Moments.of(rows[f"dense/{column}"]))
