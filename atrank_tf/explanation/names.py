"""Names of objects, actions and table rows: titles, raw ids, values of side features, categories."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from atrank_tf.data import Records
from atrank_tf.schema import FIRST_ROW, Schema, suggestion

UNKNOWN_NAME = "(unknown)"
"""Name of an object, value or action that the records do not have."""


class Thing(NamedTuple):
    """Names of an object.

    `id`: the raw id. `features`: column -> the values that are known. `categories`: those of the category's table.
    `title`: what the schema's `name` gives; "" for none.
    """

    id: str
    features: Mapping[str, tuple[str, ...]]
    categories: tuple[str, ...]
    title: str = ""

    @property
    def label(self) -> str:
        """The title, else the categories, and the id in one line."""
        name = self.title or ", ".join(self.categories[:2])
        return f"{name} ({self.id})" if name else self.id


class Names:
    """Looks names up in the catalogs and vocabularies of records.

    Args:
        records: the records of the model.
        category: the table whose values count as categories. Groups share tables, so that a product and a coupon can
            be of one category. "" takes the table `category` where there is one, else the table of the first side
            feature.

    Raises:
        ValueError: no side feature has this table.
    """

    def __init__(self, records: Records, category: str = "") -> None:
        self.schema = records.schema
        self._records = records
        self._things: dict[tuple[str, int], Thing] = {}
        tables = _feature_tables(records.schema)
        if category and category not in tables:
            raise ValueError(f"Unknown category {category!r}. {suggestion(category, tables)}")
        self.category = category or next((table for table in ("category", *tables) if table in tables), "")

    def things(self, entity: str, rows: np.ndarray | Sequence[int]) -> list[Thing]:
        """Returns the names of objects, given by catalog rows, int [M]."""
        for row in {int(row) for row in rows}:
            if (entity, row) not in self._things:
                self._things[entity, row] = self._thing(entity, row)
        return [self._things[entity, int(row)] for row in rows]

    def action(self, group: str, row: int) -> str:
        """Returns the name of an action, given by its row."""
        actions = self.schema.groups[group].actions
        return actions[row - FIRST_ROW] if FIRST_ROW <= row < FIRST_ROW + len(actions) else UNKNOWN_NAME

    def of_table(self, table: str, count: int) -> list[str]:
        """Returns the names of the first rows of an embedding table; labels for rows of object ids.

        Of a table with `hash` these are numbers: many values share a row.
        """
        if self.schema.tables[table].coded:
            return ["(padding)", UNKNOWN_NAME, *map(str, range(FIRST_ROW, count))][:count]
        values = [str(value) for value in self._records.vocabularies[table][: max(0, count - FIRST_ROW)]]
        for name, entity in self.schema.entities.items():
            if entity.id.table == table:
                rows = {str(value): row for row, value in enumerate(self._records.catalogs[name].ids, FIRST_ROW)}
                known = np.array([rows[value] for value in values if value in rows], np.int64)
                labels = {thing.id: thing.label for thing in self.things(name, known)}
                values = [labels.get(value, value) for value in values]
        return ["(padding)", UNKNOWN_NAME, *values][:count]

    def _thing(self, entity: str, row: int) -> Thing:
        catalog = self._records.catalogs[entity]
        spec = self.schema.entities[entity]
        tables = {column: feature.table for column, feature in spec.features.items()}
        features = {column: self._values(table, catalog.features[column][row]) for column, table in tables.items()}
        of_category = [column for column, table in tables.items() if table == self.category]
        return Thing(
            id=str(catalog.ids[row - FIRST_ROW]) if row >= FIRST_ROW else UNKNOWN_NAME,
            features={column: values for column, values in features.items() if values},
            categories=tuple(dict.fromkeys(value for column in of_category for value in features[column])),
            title="" if catalog.names is None or row < FIRST_ROW else str(catalog.names[row - FIRST_ROW]),
        )

    def _values(self, table: str, rows: Sequence[int]) -> tuple[str, ...]:
        known = self._records.vocabularies[table]
        if self.schema.tables[table].coded:  # Nothing leads back from a code.
            return ()
        return tuple(str(known[row - FIRST_ROW]) for row in rows if row >= FIRST_ROW)


def _feature_tables(schema: Schema) -> list[str]:
    """Returns the embedding tables of side features, each once, in the order of the schema."""
    tables = [feature.table for entity in schema.entities.values() for feature in entity.features.values()]
    return list(dict.fromkeys(table for table in tables if schema.tables[table].dim))
