"""The first reading of the staged rows: duplicates are dropped, objects and values are counted."""

from collections import defaultdict
from dataclasses import dataclass, field

import polars as pl

from atrank_tf.data.cleaning import DUPLICATE, REPEATED_CANDIDATE, REPEATED_ID, FileReport
from atrank_tf.data.moments import Moments
from atrank_tf.data.staging import Staging
from atrank_tf.schema import Entity, Features, Split, SplitKind


@dataclass
class Counts:
    """What was counted, over all shards.

    Args:
        split: says which rows count.
        objects: entity -> `id`, `count` (counted behaviors) and `uses` (these and counted shown candidates).
        values: table -> `value` and `count`, of user and context features.
        moments: place ("user" or a task) -> column -> moments.
    """

    split: Split
    objects: dict[str, pl.DataFrame] = field(default_factory=dict)
    values: dict[str, pl.DataFrame] = field(default_factory=dict)
    moments: dict[str, dict[str, Moments]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Moments)))

    def behaviors(self, staging: Staging, source: str, shard: int, entity: str, report: FileReport) -> None:
        """Drops the duplicates of a group's rows and counts their objects."""
        rows = staging.read(source, shard)
        if rows is None:
            return
        rows = keep_first(rows, ["user", "id", "action", "timestamp"], DUPLICATE, report)
        staging.replace(source, shard, rows)
        counted = self._counted()
        self._add_objects(entity, rows.group_by("id").agg(count=counted.sum(), uses=counted.sum()))

    def impressions(
        self, staging: Staging, source: str, shard: int, entity: str, context: Features, task: str, report: FileReport
    ) -> None:
        """Drops repeated candidates of a task's requests and counts objects and context values."""
        rows = staging.read(source, shard)
        if rows is None:
            return
        key = ["user", "request", "id"]
        rows = keep_first(rows.with_columns(pl.col("label").max().over(key)), key, REPEATED_CANDIDATE, report)
        staging.replace(source, shard, rows)
        counted = self._counted()
        self._add_objects(entity, rows.group_by("id").agg(count=pl.lit(0), uses=counted.sum()))
        self._add_side(rows.filter(counted), context, task)

    def profiles(self, staging: Staging, source: str, shard: int, user: Features, report: FileReport) -> None:
        """Drops repeated users of the user catalog and counts the values."""
        rows = staging.read(source, shard)
        if rows is None:
            return
        rows = keep_first(rows, ["user"], REPEATED_ID, report)
        staging.replace(source, shard, rows)
        self._add_side(rows, user, "user")

    def users(self, staging: Staging, sources: list[str], shard: int, table: str) -> None:
        """Counts everybody in a shard of these sources, once, as a value of the table of user ids."""
        found = [
            rows["user"].unique() for rows in (staging.read(source, shard) for source in sources) if rows is not None
        ]
        if found:
            users = pl.concat(found).unique()
            self._add_values(table, pl.DataFrame({"value": users}).with_columns(count=pl.lit(1, pl.Int64)))

    def of_objects(self, entity: str, sides: pl.DataFrame | None) -> pl.DataFrame:
        """Returns `id`, `count` and `uses` of every object in the logs or in the entity's catalog file."""
        known = [self.objects[entity]] if entity in self.objects else []
        if sides is not None:
            zero = pl.lit(0, pl.Int64)
            known.append(sides.select("id", count=zero, uses=zero))
        return pl.concat(known).group_by("id").agg(pl.col("count", "uses").sum())

    def _counted(self) -> pl.Expr:
        if self.split.kind is SplitKind.BY_TIME:
            return pl.col("timestamp") < self.split.validation_from
        return pl.col("timestamp").is_not_null()

    def _add_objects(self, entity: str, found: pl.DataFrame) -> None:
        found = found.with_columns(pl.col("count", "uses").cast(pl.Int64))
        if entity in self.objects:
            found = pl.concat([self.objects[entity], found]).group_by("id").agg(pl.col("count", "uses").sum())
        self.objects[entity] = found

    def _add_side(self, rows: pl.DataFrame, features: Features, place: str) -> None:
        for column, feature in features.features.items():
            self._add_values(feature.table, value_counts(rows, f"feature/{column}", pl.lit(1)))
        for column in features.dense:
            self.moments[place][column] = self.moments[place][column].add(rows[f"dense/{column}"])

    def _add_values(self, table: str, found: pl.DataFrame) -> None:
        if table in self.values:
            found = pl.concat([self.values[table], found]).group_by("value").agg(pl.col("count").sum())
        self.values[table] = found


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


def keep_first(rows: pl.DataFrame, key: list[str], reason: str, report: FileReport) -> pl.DataFrame:
    """Keeps, of the rows that agree in `key`, the first in the log; the others go into the report."""
    kept = rows.sort("row").unique(key, keep="first", maintain_order=True)
    if len(kept) < len(rows):
        dropped = rows.join(kept.select("row"), on="row", how="anti")
        report.drop(reason, len(dropped), int(dropped["row"].min()))  # type: ignore[arg-type]
    return kept
