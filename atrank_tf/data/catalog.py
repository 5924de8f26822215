"""What the model knows of the objects of one entity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.files import load_arrays, save_arrays
from atrank_tf.schema import FIRST_ROW, UNKNOWN, Entity


@dataclass(frozen=True, eq=False)
class Catalog:
    """Arrays by entity row: 0 is padding, 1 an unknown object, real objects start at 2, the frequent ones first.

    Args:
        ids: unicode or int64 [rows - 2]; the raw id of row i + 2.
        counts: int64 [rows]; behaviors with the object, before `validation_from` where the split is by time.
        table_rows: int32 [rows]; row in the id's own embedding table. A rare object shares the table's unknown row but
            keeps its own entity row and with it its side features.
        features: column -> int32 [rows, width], rows in the column's table; padded on the right with 0. `width` is the
            longest list that an object really has, 1 at least and `max_values` at most.
        dense: column -> float32 [rows], raw values; NaN where missing, and in the rows 0 and 1.
    """

    ids: np.ndarray
    counts: np.ndarray
    table_rows: np.ndarray
    features: Mapping[str, np.ndarray]
    dense: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Returns the number of rows, padding and unknown included."""
        return len(self.counts)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays by the names that they have in a file."""
        arrays: dict[str, Any] = {"ids": self.ids, "counts": self.counts, "table_rows": self.table_rows}
        arrays |= {f"features/{column}": values for column, values in self.features.items()}
        return arrays | {f"dense/{column}": values for column, values in self.dense.items()}

    def save(self, path: str) -> None:
        """Writes one `.npz` file."""
        save_arrays(path, self.arrays())

    @classmethod
    def load(cls, path: str, advice: str = "") -> "Catalog":
        """Reads what `save` wrote.

        Args:
            path: a file.
            advice: what to do if it is damaged, a sentence.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or no catalog.
        """
        arrays = load_arrays(path, advice)
        missing = {"ids", "counts", "table_rows"} - set(arrays)
        if missing:
            raise ValueError(
                f"Expected the arrays of a catalog in {path}. Missing: {sorted(missing)}. {advice}".rstrip()
            )
        sides: dict[str, dict[str, np.ndarray]] = {"features": {}, "dense": {}}
        for key, values in arrays.items():
            kind, _, column = key.partition("/")
            if kind in sides:
                sides[kind][column] = values
        return cls(arrays["ids"], arrays["counts"], arrays["table_rows"], sides["features"], sides["dense"])


def order_objects(counts: pl.DataFrame, *, integers: bool) -> pl.DataFrame:
    """Orders the objects of an entity as its rows: by count, the largest first, then by id.

    Args:
        counts: `id` (text, each once) and `count`.
        integers: whether ids are ordered as numbers.
    """
    key = pl.col("id").cast(pl.Int64) if integers else pl.col("id")
    return counts.with_columns(key=key).sort(["count", "key"], descending=[True, False]).drop("key")


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
        sides: `id` and the side features `feature/<column>` (lists of text) and `dense/<column>` of the catalog file;
            None if there is no file.
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
        rows = vocabularies[feature.table].rows_of_lists(lists, width)
        features[column] = np.concatenate([_reserved(width), rows]).astype(np.int32)
    missing = np.full(FIRST_ROW, np.nan)
    own_rows = vocabularies[entity.id.table].rows_of(objects["id"])
    return Catalog(
        ids=ids.to_numpy() if integers else ids.to_numpy().astype(np.str_),
        counts=np.concatenate([zeros, objects["count"].to_numpy()]).astype(np.int64),
        table_rows=np.concatenate([_reserved(1)[:, 0], own_rows]).astype(np.int32),
        features=features,
        dense={
            column: np.concatenate([missing, known[f"dense/{column}"].fill_null(np.nan).to_numpy()]).astype(np.float32)
            for column in entity.dense
        },
    )


def _reserved(width: int) -> np.ndarray:
    """Returns the rows 0 and 1: nothing at all, and one unknown value."""
    rows = np.zeros((FIRST_ROW, width), np.int64)
    rows[UNKNOWN, 0] = UNKNOWN
    return rows
