"""Builds vocabularies and catalogs from counts.

What a value's count is, for `min_count` and for the order. A table is shared, so the counts of all its uses are added:

- an id of the table: behaviors with the object, or requests that show it, whichever are more;
- a side feature: the same of every object that has the value, and 1 for each such object of the catalog, so that
  `min_count = 1` keeps what only the catalog knows;
- a feature of the user: users with a behavior or a request that have the value;
- a feature of the context: shown candidates that have it.

Of behaviors and requests only those before `validation_from` count where the split is by time. Shown candidates count
because a table that kept only what was acted on would tell, by its unknown row, what was never chosen. They are not
added to the behaviors: what was shown once and chosen would count twice, and the unknown row tell what was not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.codes import Codes
from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.files import text_array
from atrank_tf.preparation.counting import Counts, MeanAndVariance, measured, value_counts
from atrank_tf.preparation.logs import USER
from atrank_tf.schema import FIRST_ROW, UNKNOWN, DenseFeature, Entity, Schema

_NO_VALUES = pl.Series(dtype=pl.String)
_USES = pl.max_horizontal("count", "shown")


class EntityObjects(NamedTuple):
    """The objects of an entity, before they have rows.

    `entity`: the entity. `counts`: what `Counts.of_objects` gives. `sides`: `id`, the side features and the titles of
    the catalog file, each id once; None if there is no file. `integers`: whether all ids are integers. `known`: ids
    that have rows already, in their order.
    """

    entity: Entity
    counts: pl.DataFrame
    sides: pl.DataFrame | None
    integers: bool
    known: pl.Series


def build_vocabularies(
    schema: Schema, objects: Mapping[str, EntityObjects], counts: Counts, known: Mapping[str, np.ndarray]
) -> dict[str, Vocabulary]:
    """Returns table -> its vocabulary, of the objects of all entities and of what was counted beside them, or `Codes`.

    Args:
        schema: the schema.
        objects: entity -> its objects.
        counts: what was counted.
        known: table -> values that have rows already; a table without them may be missing.
    """
    nothing = text_array([])
    return {
        name: Codes(table.hash + FIRST_ROW)
        if table.coded
        else build_vocabulary(
            _table_counts(name, objects, counts), table.min_count, pl.Series(known.get(name, nothing), dtype=pl.String)
        )
        for name, table in schema.tables.items()
    }


def _table_counts(table: str, entities: Mapping[str, EntityObjects], counts: Counts) -> list[pl.DataFrame]:
    """Returns `value` and `count` of every use of a table."""
    found = [counts.values[table]] if table in counts.values else []
    for entity, objects, sides, *_ in entities.values():
        if entity.id.table == table:
            found.append(objects.select(value="id", count=_USES))
        for column, feature in entity.features.items():
            if feature.table == table and sides is not None:
                carriers = sides.select("id", f"feature/{column}").join(objects, on="id")
                found.append(value_counts(carriers, f"feature/{column}", _USES + 1))
    return found


def build_vocabulary(counts: Sequence[pl.DataFrame], min_count: int, known: pl.Series = _NO_VALUES) -> Vocabulary:
    """Builds the vocabulary of a table from the counts of all its uses.

    Args:
        counts: frames with `value` (text) and `count` (int); a value may stand in several.
        min_count: values counted less often are left out.
        known: values that have rows already. Defaults to none.

    Returns:
        The known values, then the others by count, the largest first, and by value where counts are equal.
    """
    together = pl.concat([frame.select("value", pl.col("count").cast(pl.Int64)) for frame in counts])
    totals = together.drop_nulls("value").group_by("value").agg(pl.col("count").sum())
    kept = totals.filter(pl.col("count") >= min_count).sort(["count", "value"], descending=[True, False])
    return Vocabulary(pl.concat([known, kept["value"].filter(~kept["value"].is_in(known.implode()))]))


def build_catalogs(objects: Mapping[str, EntityObjects], vocabularies: Mapping[str, Vocabulary]) -> dict[str, Catalog]:
    """Returns entity -> its catalog."""
    return {
        name: build_catalog(
            order_objects(found.counts, found.known, integers=found.integers),
            found.sides,
            found.entity,
            vocabularies,
            integers=found.integers,
        )
        for name, found in objects.items()
    }


def order_objects(counts: pl.DataFrame, known: pl.Series = _NO_VALUES, *, integers: bool) -> pl.DataFrame:
    """Orders the objects of an entity as its rows: known ones, others by count, the largest first, then by id.

    Args:
        counts: `id` (text, each once) and `count`.
        known: ids that have rows already, in their order. Defaults to none.
        integers: whether ids are ordered as numbers.
    """
    key = pl.col("id").cast(pl.Int64) if integers else pl.col("id")
    places = known.to_frame("id").with_row_index("place")
    found = counts.with_columns(key=key).join(places, on="id", how="left")
    order = ["place", "count", "key"]
    return found.sort(order, descending=[False, True, False], nulls_last=True).drop("place", "key")


def build_catalog(
    objects: pl.DataFrame,
    sides: pl.DataFrame | None,
    entity: Entity,
    vocabularies: Mapping[str, Vocabulary],
    *,
    integers: bool,
) -> Catalog:
    """Builds the catalog of an entity.

    Args:
        objects: `id` (text) and `count` in row order, as `order_objects` returns them.
        sides: `id`, the side features `feature/<column>` (lists of text) and `dense/<column>`, and the `title`, if the
            entity has a name, of the catalog file; None if there is no file.
        entity: the entity.
        vocabularies: table -> its vocabulary.
        integers: whether the ids are kept as int64.
    """
    ids = objects["id"].cast(pl.Int64) if integers else objects["id"]
    zeros = np.zeros(FIRST_ROW, np.int64)
    known = objects.select("id")
    if sides is not None:
        known = known.join(sides, on="id", how="left", maintain_order="left")
    features = {}
    for column, feature in entity.features.items():
        lists = known[f"feature/{column}"].fill_null([])
        longest = max(lists.list.len().to_list(), default=0)
        width = max(1, min(feature.max_values, longest))
        rows = vocabularies[feature.table].lookup_lists(lists, width)
        features[column] = np.concatenate([_reserved(width), rows]).astype(np.int32)
    missing = np.full(FIRST_ROW, np.nan)
    own_rows = (
        vocabularies[entity.id.table].lookup(objects["id"]) if entity.id.table else np.full(len(objects), UNKNOWN)
    )
    return Catalog(
        ids=ids.to_numpy() if integers else text_array(ids.to_numpy()),
        counts=np.concatenate([zeros, objects["count"].to_numpy()]).astype(np.int64),
        table_rows=np.concatenate([_reserved(1)[:, 0], own_rows]).astype(np.int32),
        features=features,
        dense={
            column: np.concatenate([missing, known[f"dense/{column}"].fill_null(np.nan).to_numpy()]).astype(np.float32)
            for column in entity.dense
        },
        names=text_array(known["title"].fill_null("").to_numpy()) if entity.name else None,
    )


def _reserved(width: int) -> np.ndarray:
    """Returns the reserved rows 0 (padding) and 1 (unknown)."""
    rows = np.zeros((FIRST_ROW, width), np.int64)
    rows[UNKNOWN, 0] = UNKNOWN
    return rows


def with_sizes(
    schema: Schema,
    objects: Mapping[str, EntityObjects],
    catalogs: Mapping[str, Catalog],
    vocabularies: Mapping[str, Vocabulary],
    counts: Counts,
) -> Schema:
    """Returns the schema with everything that was measured: rows, types of ids, mean and variance of numbers."""
    entities = {
        name: replace(
            entity,
            id=replace(entity.id, dtype="int64" if integers else "string"),
            rows=len(catalogs[name]),
            dense=_measured(entity.dense, {} if sides is None else _mean_and_variance(entity, sides)),
        )
        for name, (entity, _, sides, integers, _) in objects.items()
    }
    tasks = {}
    for name, task in schema.tasks.items():
        dense = _measured(task.context.dense, counts.dense[name])
        tasks[name] = replace(task, context=replace(task.context, dense=dense))
    tables = {name: replace(table, rows=len(vocabularies[name])) for name, table in schema.tables.items()}
    user = replace(schema.user, dense=_measured(schema.user.dense, counts.dense[USER]))
    return replace(schema, tables=tables, entities=entities, user=user, tasks=tasks)


def _mean_and_variance(entity: Entity, sides: pl.DataFrame) -> dict[str, MeanAndVariance]:
    return {
        column: MeanAndVariance().add(measured(sides[f"dense/{column}"], feature))
        for column, feature in entity.dense.items()
    }


def _measured(dense: Mapping[str, DenseFeature], measured: Mapping[str, MeanAndVariance]) -> dict[str, DenseFeature]:
    """Returns numeric features with their mean and variance filled in; nothing is known of columns without."""
    found = {column: measured.get(column, MeanAndVariance()) for column in dense}
    return {
        column: replace(feature, mean=found[column].mean, variance=found[column].variance)
        for column, feature in dense.items()
    }
