"""Catalog: ids, counts and side features of the objects of an entity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atrank_tf.files import load_arrays, save_arrays


@dataclass(frozen=True, eq=False)
class Catalog:
    """Objects of an entity as arrays: row 0 is padding, row 1 an unknown object, then objects, the frequent ones first.

    Args:
        ids: texts (`atrank_tf.files.text_array`) or int64 [rows - 2]; the raw id of row i + 2.
        counts: int64 [rows]; behaviors with the object, before `validation_from` where the split is by time.
        table_rows: int32 [rows]; row in the id's own embedding table. A rare object shares the table's unknown row but
            keeps its own entity row and with it its side features.
        features: column -> int32 [rows, width], rows in the column's table; padded on the right with 0. `width` is the
            longest list that an object really has, 1 at least and `max_values` at most.
        dense: column -> float32 [rows], raw values; NaN where missing, and in the rows 0 and 1.
        names: texts [rows - 2], the title of row i + 2, "" where it has none; None if the entity has no names.
    """

    ids: np.ndarray
    counts: np.ndarray
    table_rows: np.ndarray
    features: Mapping[str, np.ndarray]
    dense: Mapping[str, np.ndarray]
    names: np.ndarray | None = None

    def __len__(self) -> int:
        """Returns the number of rows, padding and unknown included."""
        return len(self.counts)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays by the names that they have in a file."""
        arrays: dict[str, Any] = {"ids": self.ids, "counts": self.counts, "table_rows": self.table_rows}
        arrays |= {f"features/{column}": values for column, values in self.features.items()}
        arrays |= {} if self.names is None else {"names": self.names}
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
        own = (arrays["ids"], arrays["counts"], arrays["table_rows"])
        return cls(*own, sides["features"], sides["dense"], arrays.get("names"))
