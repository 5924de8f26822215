"""Raw ids and values by row of their table: for an export, which takes ids as logs have them, and for a warm start."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from atrank_tf.data.records import Records
from atrank_tf.files import load_arrays, save_arrays
from atrank_tf.schema import FIRST_ROW, Schema


@dataclass(frozen=True, eq=False)
class IdMaps:
    """Raw ids of catalogs and raw values of embedding tables; the one at index i belongs to row i + 2.

    Args:
        ids: entity -> texts (`atrank_tf.files.text_array`) or int64 [rows - 2].
        tables: embedding table -> texts [rows - 2]; none of a table with `hash`.
    """

    ids: Mapping[str, np.ndarray]
    tables: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, records: Records) -> "IdMaps":
        """Returns the id maps of records."""
        return cls(
            ids={name: catalog.ids for name, catalog in records.catalogs.items()},
            tables=dict(records.vocabularies),
        )

    def request_tables(self, schema: Schema) -> dict[str, np.ndarray]:
        """Returns the tables of user and context features, whose values requests name; not those with `hash`."""
        return {name: self.tables[name] for name in _request_tables(schema) if not schema.tables[name].coded}

    def check_schema(self, schema: Schema) -> None:
        """Raises ValueError unless these can be the values of a model of this schema; says what differs."""
        expected: dict[str, tuple[int, str]] = {}
        for name, entity in schema.entities.items():
            expected[f"ids of entity {name!r}"] = (entity.rows - FIRST_ROW, entity.id.dtype)
        for name in _request_tables(schema):
            rows = FIRST_ROW if schema.tables[name].coded else schema.tables[name].rows
            expected[f"values of table {name!r}"] = (rows - FIRST_ROW, "string")
        found = {what: _form(values) for what, values in self._by_name().items()}
        for what, wanted in expected.items():
            if found.get(what) != wanted:
                there = "{} of {}".format(*found[what]) if what in found else "none"
                raise ValueError(
                    f"Expected the raw values behind the model. Its {what} are {wanted[0]} of {wanted[1]}. "
                    f"Received: {there}. Take the values of the model's own folder."
                )

    def check_records(self, records: Records) -> None:
        """Raises ValueError unless rows of a model mean in these records what they meant where it was trained.

        Args:
            records: records of the model's schema, sizes included.
        """
        ours, theirs = self._by_name(), IdMaps.of(records)._by_name()
        for what in sorted(ours.keys() & theirs.keys()):
            one, other = ours[what], theirs[what]
            if not np.array_equal(one, other):
                row = int(np.argmax(one != other))
                here, there = (values[[row]].tolist()[0] for values in (one, other))
                raise ValueError(
                    f"Expected records in {records.path} with the rows that the model was trained with. Of the {what} "
                    f"row {row + FIRST_ROW} is {here!r} in the model, {there!r} in the records. "
                    "`python -m atrank_tf.train --warm_start` with epochs = 0 takes a model over to other records."
                )

    def _by_name(self) -> dict[str, np.ndarray]:
        named = {f"ids of entity {name!r}": values for name, values in self.ids.items()}
        return named | {f"values of table {name!r}": values for name, values in self.tables.items()}

    def save(self, path: str) -> None:
        """Writes one `.npz` file, whole or not at all."""
        arrays = {f"ids/{name}": values for name, values in self.ids.items()}
        arrays |= {f"tables/{name}": values for name, values in self.tables.items()}
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str) -> "IdMaps":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or holds something else.
        """
        parts: dict[str, dict[str, np.ndarray]] = {"ids": {}, "tables": {}}
        advice = "Train again in another folder, or bring back a copy of the file."
        for key, values in load_arrays(path, advice).items():
            part, _, name = key.partition("/")
            if part not in parts:
                raise ValueError(f"Expected the raw values of a model in {path}. Found: {key!r}. {advice}")
            parts[part][name] = values
        return cls(ids=parts["ids"], tables=parts["tables"])


def _request_tables(schema: Schema) -> list[str]:
    sides = (schema.user, *(task.context for task in schema.tasks.values()))
    return sorted({feature.table for side in sides for feature in side.features.values()})


def _form(values: np.ndarray) -> tuple[int, str]:
    return len(values), "int64" if values.dtype.kind == "i" else "string"
